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

# suits PYTHON: is it new enough, and can it make environments? Says in $why what is wrong.
suits() {
    why=''
    found=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || { why='does not run'; return 1; }
    case $found in
        3.[0-9] | 3.10 | 2.*) why="is $found" ;;
        *) "$1" -c 'import venv, ensurepip' >/dev/null 2>&1 || why="($found) has no venv" ;;
    esac
    [ -z "$why" ]
}

# outside_homes PYTHON: a service with ProtectHome= sees no other.
outside_homes() {
    why=''
    for folder in $("$1" -c 'import os, sys; print(os.path.realpath(sys.base_prefix), os.path.realpath(sys.executable))'); do
        case $folder in /home/* | /root/* | /run/user/*) why='lies in a home, which the service cannot see' ;; esac
    done
    [ -z "$why" ]
}

# find_python [outside_homes]: prints the first Python that will do.
find_python() {
    seen=''
    for name in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if suits "$path" && { [ -z "${1-}" ] || "$1" "$path"; }; then
            printf '%s\n' "$path"
            return 0
        fi
        seen="$seen $path $why;"
    done
    fail "ycsync needs python3, 3.11 or newer, with venv. Found:${seen:- no python3 at all.}" \
        'Debian, Ubuntu:  apt-get install python3 python3-venv' \
        'Fedora, RHEL 9:  dnf install python3.12' \
        'Alpine is not supported: its C library has no ready-made PostgreSQL server package for Python.'
}

# Does the C library know the users that systemd makes up for DynamicUser=? The private PostgreSQL asks it once, when it is made.
knows_dynamic_users() {
    grep -Eq '^passwd:.*[[:space:]]systemd([[:space:]]|$)' /etc/nsswitch.conf && PATH=$PATH:/sbin ldconfig -p | grep -q libnss_systemd
}

# install_packages BIN LOCK: into the environment whose commands are in BIN.
install_packages() {
    "$1/python" -m pip install -qq --require-virtualenv --require-hashes --no-deps --only-binary :all: -r "$2" && return
    if [ -n "${PIP_NO_INDEX:-}" ]; then
        fail "The packages of $2 could not be installed (pip's message is above)." \
            "Are all of them in ${PIP_FIND_LINKS:-the folder}, for this Python and this kind of machine?"
    fi
    fail "The packages of $2 could not be installed (pip's message is above)." \
        'It needs a package registry that pip can reach, the first time. To install a service without one: deploy/install --wheels.'
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
        install_packages "$bin" "$lock"
        printf '%s\n' "$packages" >"$stamps/packages-$lock"
    fi
    if [ "$(stamp project)" != "$project" ]; then
        "$bin/python" -m pip install -qq --require-virtualenv --no-deps --no-build-isolation --no-index \
            --editable . || fail "ycsync could not be installed into $PWD/.venv (pip's message is above)."
        printf '%s\n' "$project" >"$stamps/project"
    fi
    exec 9>&-
}

# fetch_wheels PYTHON: the packages of requirements.lock as files in .cache/wheels, for deploy/install --wheels.
fetch_wheels() {
    stamps=$PWD/.cache/wheels
    wanted="$(cksum <requirements.lock) $("$1" -c 'import sys; print(sys.version_info[:2])')"
    [ "$(stamp .wanted)" != "$wanted" ] || return 0
    rm -rf .cache/wheels .cache/fetching
    mkdir -p .cache
    "$1" -m venv .cache/fetching
    say 'ycsync: fetching the packages of requirements.lock (once)'
    .cache/fetching/bin/python -m pip download -qq --require-hashes --no-deps --only-binary :all: \
        -d .cache/wheels -r requirements.lock || fail "The packages could not be fetched (pip's message is above)."
    rm -rf .cache/fetching
    printf '%s\n' "$wanted" >.cache/wheels/.wanted
}

stamp() { cat "$stamps/$1" 2>/dev/null || :; }
