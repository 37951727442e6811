"""What the benchmark prints of its figures."""

from statistics import median

# Figures whose ratio is worth a line.
COMPARED = "tokens_per_second", "seconds", "cpu_seconds", "us_per_token"


def print_sides(sides: dict, columns: dict[str, str], over: str, under: str) -> None:
    """A line for each side with the median (least to most) of every column. Then the ratio of two
    sides, turn by turn."""
    for name, runs in sides.items():
        # Sorted, so that the ends are the least and the most.
        values = {column: sorted(run[column] for run in runs) for column in columns}
        spreads = [
            f"{median(v):,.4g} ({v[0]:,.4g} to {v[-1]:,.4g}) {columns[c]}"
            for c, v in values.items()
            if v
        ]
        print(f"  {name:13s} " + ", ".join(spreads))
    for column in [c for c in columns if c in COMPARED] if sides[over] and sides[under] else []:
        # Both sides of a turn met the same noise of the machine.
        ratios = sorted(
            o[column] / u[column] for o, u in zip(sides[over], sides[under], strict=True)
        )
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"  {over} / {under}, turn by turn: {spread} in {columns[column]}")


def print_sampling(sides: dict) -> None:
    """Tokens per second of both samplers."""
    columns = {
        "tokens_per_second": "useful tokens/s",
        "cpu_seconds": "CPU-s",
        "tokens": "useful tokens",
    }
    print_sides(sides, columns | {"decoding_steps": "steps"}, "sample_groups", under="generate")


def print_step(sides: dict) -> None:
    """Seconds of a step on both sides, and the parts of ours."""
    columns = {
        "seconds": "s",
        "cpu_seconds": "CPU-s",
        "us_per_token": "microseconds a token",
        "tokens": "tokens",
    }
    columns["no_signal"] = "of groups without signal"
    print_sides(sides, columns, "trl", under="ours")
    if not sides["trl"]:
        print(
            "  TRL is not installed, so its side is left out. With it: uv run --group test"
            " python -m rlvr_helpers.tools.benchmark"
        )
    # Where our time goes.
    total = sum(run["seconds"] for run in sides["ours"])
    parts = {
        part: sum(run["parts"].get(part, 0) for run in sides["ours"])
        for part in sides["ours"][0]["parts"]
    }
    parts["the rest"] = total - sum(parts.values())
    print(
        "  our time: "
        + ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in parts.items())
    )


def print_trace(parts: dict) -> None:
    """Each part beside its floor, and its top operations."""
    for name, part in parts.items():
        # How far above the floor it is, and what stands above it.
        seconds = median(part["seconds"])
        floor = part["floor_seconds"]
        rate = median(part["matmul_flops_per_second"])
        print(
            f"  {name}: {seconds:.3f} s, {seconds / floor:.1f} times the floor"
            f" ({part['flops'] / 1e9:.1f} GFLOP at {rate / 1e9:.0f} GFLOP/s, {part['rows']} rows at"
            f" once: {floor:.3f} s)"
        )
        for row in part["operations"]:
            print(
                f"    {row['share']:4.0%} {row['ms']:9.1f} ms {row['calls']:6d} x"
                f" {row['name'][:70]}"
            )


def print_reach(results: dict) -> None:
    """How long each method took to the target."""
    for method, r in results.items():
        (_, start, _), (step, accuracy, seconds) = r["curve"][0], r["curve"][-1]
        print(
            f"  {method:8s} {'reached' if r['reached'] else 'not reached'}: {start:.1%} to"
            f" {accuracy:.1%} in {step} steps, {seconds:.1f} s and {r['evaluation_seconds']:.1f} s"
            f" of evaluation; at most {r['peak_mb']:.0f} MB ({r['peak_mb_before']:.0f} before"
            " training)"
        )
