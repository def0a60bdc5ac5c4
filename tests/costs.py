"""What a command costs in instructions and allocations, held against tests/costs/table.txt.

    tests/costs.py PROGRAM [--write]     PROGRAM is the built tests/costs/program.rs; --write writes the table anew

The program takes the commands of `switchboard bench` through the service in one thread, under valgrind; a stage is one
of its functions with all that it calls. More than 5 % above the table fails: either the change is worth it, and the
table is written anew with a word in the commit why, or it is not. Instructions do not depend on what else a machine does.
They do depend on compilers, libraries and the kind of processor: with others than the table's nothing is judged.
Valgrind knows no instructions for SHA-256, so hashing counts as portable code: half of all, and in truth a fortieth.
"""
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TABLE = Path(__file__).parent / "costs" / "table.txt"
# Stage, and the function that is it; what is indented is part of the stage above.
STAGES = {
    "parse": "costs::parse",
    "own": "costs::own",
    "  decide": "switchboard::domain::decide::decide",
    "  encode": "switchboard::switchboard::core::recording::<impl switchboard::switchboard::core::Core>::record",
    "  answer": "switchboard::switchboard::core::commands::<impl switchboard::switchboard::core::Core>::tell",
    "append": "costs::append",
    "adopt": "costs::adopt",
    "publish": "costs::publish",
}
COMMANDS = 11  # of one conversation
CONVERSATIONS = 1024
MORE_MAX = 1.05
# Below so much a difference says nothing.
MORE_MIN = {"instructions": 50, "allocations": 0.2}
FORM = "{:10}{:>14}{:>13}"


def main(program, write):
    if not shutil.which("valgrind"):
        print("left out: valgrind is not installed")
        return
    ran = subprocess.run(["valgrind", "--tool=none", "true"], capture_output=True, text=True)
    if ran.returncode:
        print(f"left out: valgrind does not run here: {ran.stderr.strip().splitlines()[-1:]}")
        return
    kept_by, kept = read(TABLE.read_text()) if TABLE.exists() else (None, {})
    if kept_by != compiler() and not write:
        print(f"left out: {TABLE.name} is of {kept_by}, and this is {compiler()}: counts differ."
              " Run it with those, or write the table anew with --write before a change and compare after it")
        return
    measured = measure(program)
    if write:
        TABLE.write_text(table(measured))
    print(table(measured), end="")
    grown = compare(measured, kept)
    if grown and not write:
        sys.exit("\n".join(grown))


def compare(measured, kept):
    """What grew; what shrank is said."""
    grown = []
    for stage, figures in measured.items():
        for what, now, before in zip(MORE_MIN, figures, kept.get(stage, figures)):
            told = f"{stage.strip()}: {now:.1f} {what} a command, {before:.1f} by the table"
            if now > max(before * MORE_MAX, before + MORE_MIN[what]):
                grown.append(f"{told}: worth it? then write it anew with --write, and say in the commit why")
            elif now < min(before / MORE_MAX, before - MORE_MIN[what]):
                print(f"{told}: write it anew with --write")
    return grown


def measure(program):
    with tempfile.TemporaryDirectory() as scratch:
        calls, blocks = f"{scratch}/calls", f"{scratch}/blocks"
        valgrind(["--tool=callgrind", f"--callgrind-out-file={calls}"], program)
        valgrind(["--tool=dhat", "--num-callers=200", f"--dhat-out-file={blocks}"], program)
        instructions, allocations = of_calls(Path(calls).read_text()), of_blocks(json.loads(Path(blocks).read_text()))
    counts = {stage: (instructions[stage], allocations[stage]) for stage in STAGES}
    whole = [counts[stage] for stage in STAGES if not stage.startswith(" ")]
    counts["together"] = tuple(map(sum, zip(*whole)))
    return counts


def of_calls(told):
    """Instructions by stage, those of what it calls among them."""
    sums, names, current = {}, {}, None
    for line in told.splitlines():
        if line.startswith(("fn=", "cfn=")):
            # Names are written once, and then their numbers stand for them.
            number, *named = line.split("=", 1)[1].split(" ", 1)
            names.update((number, name(text)) for text in named)
            if line.startswith("fn="):
                current = names[number]
        elif re.match(r"[+*\d-]", line):
            # A line of the function's own, or, behind "calls=", with all that a call took.
            sums[current] = sums.get(current, 0) + int(line.split()[1])
    found = {stage: sums[function] for stage, function in STAGES.items() if function in sums}
    lacking = [function for stage, function in STAGES.items() if stage not in found]
    if lacking:
        sys.exit(f"not found in the profile: {', '.join(lacking)}: renamed, or inlined?")
    return {stage: found[stage] / CONVERSATIONS / COMMANDS for stage in STAGES}


def of_blocks(told):
    """Allocations by stage: by what stands in the stack of each."""
    frames = [re.sub(r"^0x[0-9A-F]+: ", "", frame) for frame in told["ftbl"]]
    frames = [name(re.sub(r" \([^()]*\)$", "", frame)) for frame in frames]
    found = dict.fromkeys(STAGES, 0)
    for point in told["pps"]:
        stack = {frames[number] for number in point["fs"]}
        for stage, function in STAGES.items():
            if function in stack:
                found[stage] += point["tbk"]
    return {stage: count / CONVERSATIONS / COMMANDS for stage, count in found.items()}


def name(symbol):
    """Without the compiler's own suffixes."""
    return re.sub(r"(::h[0-9a-f]{16}|'\d+|\.llvm\.\d+|\.\d+)$", "", symbol.strip())


def valgrind(tool, program):
    ran = subprocess.run(["valgrind", *tool, program, str(CONVERSATIONS)], capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{program} failed:\n{ran.stderr}")


def compiler():
    """Whatever the counts depend on."""
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(" (")[0].strip()
    cpu = Path("/proc/cpuinfo").read_text()
    wide = next((flag for flag in ("avx512f", "avx2") if f" {flag}" in cpu), "neither avx2 nor avx512f")
    return ", ".join((first_line("rustc", "--version"), first_line("valgrind", "--version"), f"gcc {first_line('cc', '-dumpversion')}",
                      " ".join(platform.libc_ver()), platform.machine(), wide))


def table(measured):
    lines = [f"# One command of the usual mix, by {compiler()}. Written by tests/costs.py --write.",
             FORM.format("stage", "instructions", "allocations")]
    lines += [FORM.format(stage, f"{all_of[0]:.0f}", f"{all_of[1]:.1f}") for stage, all_of in measured.items()]
    return "\n".join(lines) + "\n"


def read(text):
    first, _, *rows = text.splitlines()
    rows = (row.rsplit(maxsplit=2) for row in rows)
    return re.search(r"by (.+)\. Written", first)[1], {stage: (float(a), float(b)) for stage, a, b in rows}


main(sys.argv[1], "--write" in sys.argv)
