#!/bin/sh
# What the image runs: a BIDS App, any command of raxnet, or, without arguments, what the method's own container did.
#   IMAGE /bids /out participant [OPTIONS]     segment, with the models in /models unless options say otherwise
#   IMAGE serve /models --host 0.0.0.0 ...     a command of raxnet
#   IMAGE                                      scans of /here/data (or /data), weights of /here/trained_models/*.h5, to /results
set -eu
case "${1:-}" in
    segment | serve | import | export | check | stats | folds | batches | evaluate | phantom | init | run | train | compare \
        | compile | demo | report | rollback | gc | --help | -h) exec raxnet "$@" ;;
    "") ;;
    *)  case " $* " in
            *" --models"* | *" --server"* | *" --version "*) exec raxnet segment "$@" ;;
            *) exec raxnet segment "$@" --models /models ;;
        esac ;;
esac

say() { echo "raxnet: $*" >&2; exit 2; }
here=/here; [ -d "$here" ] || here=
[ -d "$here/data" ] || say "no scans: mount the folder that holds data/ and trained_models/, -v \"\$PWD:/here:ro\""
[ -d /results ] || say "nowhere to write: mount a folder, -v \"\$PWD/results:/results\""
[ -w /results ] || say "/results cannot be written by user $(id -u): add --user \"\$(id -u):\$(id -g)\""
models=/models
if ls "$here"/trained_models/*.h5 >/dev/null 2>&1; then
    models=$(mktemp -d)
    raxnet import "$here"/trained_models/*.h5 "$models" >&2
fi
exec raxnet segment "$here/data" /results --models "$models"
