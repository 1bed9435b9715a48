# shellcheck shell=sh
# Sourced by the scripts beside it, from the top of the checkout: a virtual environment in .venv, made once.
# It needs python3 (3.11 or newer) with venv, and a package registry the first time only.

set -eu
umask 022
: "${HOME:=}"
if [ -z "$HOME" ] || [ ! -d "$HOME" ]; then
    HOME=${TMPDIR:-/tmp}
    export HOME
fi
# What the caller's shell says about Python is about another Python.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP VIRTUAL_ENV PIP_REQUIRE_VIRTUALENV PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

say() { printf '%s\n' "$*" >&2; }

# Prints the first Python that will do.
find_python() {
    seen=''
    for name in python3 python3.13 python3.12 python3.11; do
        path=$(command -v "$name" 2>/dev/null) || continue
        version=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        case $version in
            3.[0-9] | 3.10 | 2.*) seen="$seen $path is $version;" ;;
            *)
                if "$path" -c 'import venv, ensurepip' >/dev/null 2>&1; then
                    printf '%s\n' "$path"
                    return 0
                fi
                seen="$seen $path ($version) has no venv;"
                ;;
        esac
    done
    fail "ycsync needs python3, 3.11 or newer, with venv. Found:${seen:- no python3 at all.}" \
        'Debian, Ubuntu:  apt-get install python3 python3-venv' \
        'Fedora, RHEL 9:  dnf install python3.12' \
        'Alpine is not supported: its C library has no ready-made PostgreSQL server package for Python.'
}

# make_venv LOCK: sets $bin to the folder of the environment's commands.
make_venv() {
    lock=$1
    bin=$PWD/.venv/bin
    stamps=$PWD/.venv/.stamps
    [ -w . ] || [ -d .venv ] || fail "$PWD cannot be written by $(id -un): clone it into a folder of yours."
    python=$(find_python)
    # A moved checkout or another Python needs a new environment; another lock or pyproject only an update.
    base=$("$python" -c 'import sys; print(sys.version, sys.executable)')" in $PWD"
    packages=$(cksum <"$lock")
    project=$(cksum <pyproject.toml)
    if [ "$(stamp base)" = "$base" ] && [ "$(stamp "packages-$lock")" = "$packages" ] &&
        [ "$(stamp project)" = "$project" ]; then
        return 0
    fi
    [ -w . ] || fail "$PWD/.venv is out of date and $(id -un) cannot write it: clone into a folder of yours."
    mkdir -p .cache
    if command -v flock >/dev/null 2>&1; then
        exec 9>.cache/venv.lock
        flock 9
    fi
    if [ "$(stamp base)" != "$base" ]; then
        say "ycsync: making $PWD/.venv with $python"
        rm -rf .venv
        "$python" -m venv .venv || fail "$python could not make $PWD/.venv (its message is above)."
        mkdir "$stamps"
        printf '%s\n' "$base" >"$stamps/base"
    fi
    if [ "$(stamp "packages-$lock")" != "$packages" ]; then
        say "ycsync: installing the packages of $lock (once)"
        "$bin/python" -m pip install -qq --require-virtualenv --require-hashes --no-deps \
            --only-binary :all: -r "$lock" ||
            fail "The packages of $lock could not be installed (pip's message is above)." \
                'The first run needs a package registry that pip can reach; later runs need none.'
        printf '%s\n' "$packages" >"$stamps/packages-$lock"
    fi
    if [ "$(stamp project)" != "$project" ]; then
        "$bin/python" -m pip install -qq --require-virtualenv --no-deps --no-build-isolation --no-index \
            --editable . || fail "ycsync could not be installed into $PWD/.venv (pip's message is above)."
        printf '%s\n' "$project" >"$stamps/project"
    fi
    exec 9>&-
}

stamp() { cat "$stamps/$1" 2>/dev/null || :; }
