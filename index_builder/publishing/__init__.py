"""From stored files to a version that is trusted: judged by gates, published, promoted, taken back, collected.

Pure judgements are in `verdict`, `judge_version`, `judge_change` and `reachable`; what writes is in `publish`,
`promote`, `pins` and `collect`; what compares and checks, in `diff` and `checkup`.
"""
