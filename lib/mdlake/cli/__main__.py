from mdlake.cli import main

main()
