# shellcheck shell=bash
# Sourced by scripts/dev and scripts/test: installs what is missing, nothing else.

say() {
    printf '==> %s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# apt needs root; outside it, sudo where there is one.
install_packages() {
    [ "$#" -gt 0 ] || return 0
    have apt-get || die "missing: $*; install them with this system's package manager"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "missing: $*; as root run: apt-get install $*"
        as_root=(sudo)
    fi
    say "installing $*"
    "${as_root[@]}" apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@" >&2
}

# PostgreSQL 15 or newer, where the distributions put it or in PATH.
have_postgresql() {
    local server version
    for server in /usr/lib/postgresql/*/bin/postgres "$(command -v postgres || true)"; do
        [ -x "$server" ] || continue
        version=$("$server" --version | sed -E 's/.*\) ([0-9]+).*/\1/')
        if [ "$version" -ge 15 ]; then
            return 0
        fi
    done
    return 1
}

# What the tests of pages drive: any Chromium in PATH.
have_browser() {
    local browser
    for browser in chromium chromium-browser google-chrome google-chrome-stable; do
        if have "$browser"; then
            return 0
        fi
    done
    return 1
}

# Where none can be had, those tests fail and say so: nothing is skipped.
install_browser() {
    if ! have_browser; then
        install_packages chromium fonts-liberation
    fi
}

# What others wrote that our codes and pictures are read by.
install_code_readers() {
    local missing=()
    have oathtool || missing+=(oathtool)
    have zbarimg || missing+=(zbar-tools)
    have rsvg-convert || missing+=(librsvg2-bin)
    /usr/bin/python3 -c 'import pyotp' 2>/dev/null || missing+=(python3-pyotp)
    install_packages "${missing[@]}"
}

# What tests of shared state start, each its own; the certificates of the one with TLS.
install_redis() {
    local missing=()
    have redis-server || missing+=(redis-server)
    have openssl || missing+=(openssl)
    install_packages "${missing[@]}"
}

# What every build and every private cluster needs.
install_base() {
    local missing=()
    if ! have cc; then
        missing+=(gcc libc6-dev)
    fi
    if [ "${1:-}" = with-postgresql ] && ! have_postgresql; then
        missing+=(postgresql)
    fi
    install_packages "${missing[@]}"
    have cargo || die "cargo is missing: install Rust with rustup, then run this again"
}

# The stacks of others that verify our tokens, messages and logs (crates/server/tests/it/interop) and
# make passkeys for us (…/passkeys), beside the build and from the package indexes that this
# machine is set up for. Where they cannot be had, those tests say so; in CI they fail.
install_interop() {
    local folder tests=crates/server/tests/it
    folder=${CARGO_TARGET_DIR:-target}/interop
    mkdir -p "$folder/node"
    # One folder each: they want different versions of one library.
    install_python_stacks "$tests/interop/requirements.txt" "$folder/python"
    install_python_stacks "$tests/passkeys/requirements.txt" "$folder/passkeys"
    install_python_stacks "$tests/interop/signatures.txt" "$folder/signatures"
    install_python_stacks "$tests/interop/audit.txt" "$folder/audit"
    install_python_stacks "$tests/interop/secret_stores.txt" "$folder/moto"
    if ! cmp -s "$tests/interop/package.json" "$folder/node/package.json"; then
        say "installing Node libraries for the interop tests"
        have npm || install_packages nodejs npm
        cp "$tests/interop/package.json" "$folder/node/package.new.json"
        (cd "$folder/node" && cp package.new.json package.json && rm package.new.json &&
            npm install --silent --no-audit --no-fund >&2) || {
            rm -f "$folder/node/package.json"
            say "the Node libraries cannot be had from here"
        }
    fi
}

install_python_stacks() {
    local wanted=$1 place=$2
    cmp -s "$wanted" "$place.txt" && return 0
    say "installing Python libraries for the interop tests"
    have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
    python3 -m venv "$place" &&
        "$place/bin/pip" install --quiet --requirement "$wanted" >&2 &&
        cp "$wanted" "$place.txt" || {
        rm -rf "$place"
        say "the Python libraries cannot be had from here"
    }
}
