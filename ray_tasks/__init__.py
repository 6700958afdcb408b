"""Ray applications, one verb a file: train, score, distill, compress, evaluate.

Each reads as options -> plan -> spread -> commit. All that is worked out is in `mdlake`; here it is put on
workers, retried and committed. Run as `python -m ray_tasks.train --lake URL`, or by `ray job submit`.
"""
