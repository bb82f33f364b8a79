#!/bin/sh
# What the image runs: a BIDS App, or any command of raxnet. The method's own two commands: deploy/docker/rux.
#   IMAGE /bids /out participant [OPTIONS]     segment, with the models in /models unless options say otherwise
#   IMAGE serve /models --host 0.0.0.0 ...     a command of raxnet
set -eu
case "${1:-}" in
    segment | serve | import | export | check | stats | folds | batches | evaluate | phantom | init | run | train | compare \
        | compile | demo | report | rollback | gc | --help | -h) exec raxnet "$@" ;;
    "") exec raxnet --help ;;
esac
case " $* " in
    *" --models"* | *" --server"* | *" --version "*) exec raxnet segment "$@" ;;
    *) exec raxnet segment "$@" --models /models ;;
esac
