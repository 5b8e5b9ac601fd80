#!/bin/bash
# The tool is in emulated-host/. The state of a stack that was deployed before it moved there has this path: its destroy
# runs it.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../emulated-host/emulated-host.sh" "$@"
