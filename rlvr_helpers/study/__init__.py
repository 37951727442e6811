"""Experiments as data: comparisons, runs, tables, and what to run where. Its face holds what
notebooks ask for."""

from rlvr_helpers.engine.lazy import face

_HOMES = {
    "comparison": "Comparison load_trained run_comparison",
    "memory": (
        "CARDS GIB REACHED SHAPES Workload cheapest_fit layer_bytes memory_parts seconds_parts"
        " trained_parameters"
    ),
    "pilot": "run_pilot with_calibration",
    "planning": "plan_comparison",
    "presets": "describe_corrections",
    "tables": "format_differences format_table paired_differences table_rows",
    "trl": "trl_config trl_train_config",
}
__getattr__, __all__ = face(__name__, _HOMES)
