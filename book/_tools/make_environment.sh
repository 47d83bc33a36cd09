#!/bin/sh
# Make a virtual environment with exactly the locked packages: make_environment.sh VENV LOCK
set -eu
venv=$1
lock=$2

find_python() {
  if [ -n "${PYTHON_FOR_VENV:-}" ]; then
    set -- "$PYTHON_FOR_VENV"
  else
    set -- python3 python3.13 python3.12 python3.11 python
  fi
  for name in "$@"; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      >/dev/null 2>&1; then
      echo "$name"
      return
    fi
  done
  echo "The course needs Python 3.11, 3.12 or 3.13 with the module venv; tried: $*." >&2
  echo "Install one (for example 'apt install python3.11-venv', or from python.org)," >&2
  echo "or name it: make book PYTHON_FOR_VENV=/path/to/python3.12" >&2
  return 1
}

if [ -n "${PYTHON_FOR_VENV:-}" ] || ! [ -x "$venv/bin/python" ]; then
  python=$(find_python)
  echo "Making the environment $venv with $("$python" --version) ..."
  "$python" -m venv --clear "$venv"
fi
echo "Installing the locked packages (a few minutes the first time) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  --no-build-isolation --editable .
