"""Evaluations as jobs of a Slurm cluster, one cell each: submitted, run, looked at.

    submit ── expansion ──▶ cells ── submitting (submitit, sbatch) ──▶ job array
                                                                       │
    jobs  ◀── status ◀── cell-<n>.json of every cell ◀── node ─────────┘

A submission is a folder below the jobs dir; all that is known of it lies there, so that
it can be looked at without Slurm and from another machine.
"""
