"""The main job, end to end, on NYC flights 2013: `python -m demo --lake DIR`, or `make demo`.

Every stage is the real application, started as a user would start it; the demo only strings them together,
shows progress, finds what is done already and reads the statistics at the end.
"""
