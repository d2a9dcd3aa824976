# Debian's packages that tests need; sourced by their scripts.

made_policy=
missing=()

# need PACKAGE TEST...: the package when the test fails.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

# Installs what `need` found missing. The caller removes the policy at its end.
install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { echo "$0: missing: ${missing[*]}" >&2; exit 1; }
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Their services are of no use here: the tests start servers of their own. Exit code 101 of policy-rc.d(8) keeps
    # them from being started where nobody has said otherwise.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made_policy=$policy
    fi
    apt-get update -qq </dev/null
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

remove_policy() {
    if [ -n "$made_policy" ]; then rm -f "$made_policy"; fi
}
