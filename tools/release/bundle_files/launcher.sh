#!/bin/sh
# Runs @PROGRAM@ of this bundle, wherever it was unpacked. CUDA's libraries are the machine's own:
# they are looked for where CUDA and Python's nvidia-… packages have them.
set -eu
self=$(readlink -f "$0" 2>/dev/null) || self=$0
root=$(cd "${self%/*}/.." && pwd)

cuda_needs="@CUDA@"
newline='
'
# A folder a line. Only the shell's own commands: the machine may have no others.
cuda_folders() {
  echo "${AUTOCOLOR_CUDA:-}"
  for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /usr/local/cuda-*; do
    echo "$home/lib64"
  done
  echo "${CONDA_PREFIX:-}/lib"
  # shellcheck disable=SC2086 # split at the colons
  (IFS=: && printf '%s\n' ${LD_LIBRARY_PATH:-})
  printf '%s\n' /usr/lib/x86_64-linux-gnu /usr/lib64
  IFS=$newline
  for site in "${VIRTUAL_ENV:-/nowhere}"/lib/python3*/site-packages \
    $(python3 -c 'import sys; print("\n".join(p for p in sys.path if p))' 2>/dev/null); do
    printf '%s\n' "$site"/nvidia/*/lib
  done
}
if [ -n "$cuda_needs" ] && [ -z "${AUTOCOLOR_CUDA_FOUND:-}" ]; then
  folders=$(cuda_folders)
  missing=
  for library in $cuda_needs; do
    found=
    IFS=$newline
    for folder in $folders; do
      if [ -e "$folder/$library" ]; then
        found=$folder
        break
      fi
    done
    unset IFS
    if [ -z "$found" ]; then
      missing="$missing $library"
    else
      case ":${LD_LIBRARY_PATH:-}:" in
        *":$found:"*) ;;
        *) LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$found ;;
      esac
    fi
  done
  if [ -n "$missing" ]; then
    echo "@PROGRAM@: error: CUDA's libraries are not found:$missing. They were looked for in" \
      "AUTOCOLOR_CUDA, CUDA_HOME, CUDA_PATH, /usr/local/cuda*, CONDA_PREFIX, LD_LIBRARY_PATH and the" \
      "nvidia packages of python3; set AUTOCOLOR_CUDA to the folder that holds them" >&2
    exit 1
  fi
  export LD_LIBRARY_PATH AUTOCOLOR_CUDA_FOUND=1
fi

# Nothing of the machine's own Python is used.
unset PYTHONHOME
export PYTHONPATH="$root/python" PYTHONNOUSERSITE=1
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" # as build/env.sh
exec "$root/libexec/@BINARY@" @ARGUMENTS@ "$@"
