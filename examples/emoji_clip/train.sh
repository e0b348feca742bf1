#!/usr/bin/env bash
# Trains the embedded model from nothing and packs it: train.sh WORK [TO]
#
# WORK  a folder for drawings, targets and checkpoints (about 1 GB)
# TO    where the packed files go; default: pipeline/emoji of this repository
#
# Needs requirements.txt, Node's npm and WordNet for nltk (NLTK_DATA, or the package's own copy).
# A stage whose output is there already is not run again: remove the file to have it anew.
# THREADS=2 and BF16= can be set: BF16=--bf16 halves the teacher's time on a CPU with AVX512-BF16.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
work="${1:?usage: train.sh WORK [TO]}"
to="${2:-$here/../../pipeline/emoji}"
threads="${THREADS:-2}"
mkdir -p "$work"

stage() { # stage OUTPUT COMMAND...: runs the command unless its output is there, tells its seconds
    local output="$work/$1" began=$SECONDS
    shift
    if [[ ! -e "$output" ]]; then
        "$@"
        echo "$(basename "$output"): $((SECONDS - began)) s"
    fi
}
script() { python "$here/$1" --work "$work" "${@:2}"; }
fetch() { cp "$here/package.json" "$work/" && (cd "$work" && npm install --ignore-scripts --no-audit --no-fund); }

stage node_modules fetch
stage pictures.npz script render.py
stage teacher.npz script teacher.py --threads "$threads" ${BF16:-}
stage text.pt script train_text.py --threads "$threads"
stage image1.pt script train_image.py --threads "$threads" --steps 2000 --out image1.pt
# The names are fixed from here on, so the courses that follow need not wait for each other.
stage image2.pt script train_image.py --threads "$threads" --start image1.pt \
    --steps 1500 --rate 6e-4 --soft 0.2 --seed 1 --out image2.pt
stage clip.pt script train_text.py --threads "$threads" --start text.pt --image image1.pt \
    --steps 1400 --rate 2e-3 --out clip.pt
script pack.py --images image1.pt image2.pt --to "$to"
script evaluate.py --model "$to" --split val --threads "$threads"
script evaluate.py --model "$to" --split test --threads "$threads"
