"""What a GPU session and its stages agree on."""

COMMAND = "python -m rlvr_helpers.tools.gpu_session"
FINDINGS = "findings.jsonl"
