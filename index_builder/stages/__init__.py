"""The stages of a build, in their order: sampling, training, encoding, assembling, finishing.

Each is a plain function of a job, a snapshot and a unit of work (`index_builder.work`). It stores what it made and
returns how long its kinds of work took; a unit whose result is stored already is skipped.
"""
