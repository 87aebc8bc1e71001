"""Fault drills: what happens to the work when a machine misbehaves.

``python -m drills --out FOLDER`` starts the real command line in processes of its own, on
tiny random models, and does to it what machines do: kills it at random moments, fills its
disk, flips bits of its files, sets its clock back, takes its memory away, starts it twice at
once, swaps its model. Every drill compares what is left with an undisturbed run. Two ends
are right: the same bits, with nothing recomputed that was stored; or exit code 2 with one
clear line, and nothing lost.

One file per kind of fault; `scene` builds what they act on, `process` starts commands,
`outcome` notes what came of it. A drill takes a `Scene` and a seeded random generator and
yields outcomes.
"""
