"""From stored files to a version that is trusted: judged by gates, published, promoted, taken back, collected.

Pure judgements are in `verdict`, `judge_version` and `judge_change`; what moves is in `publish`, `promote` and
`rollback`.
"""
