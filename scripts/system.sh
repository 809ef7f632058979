# What the scripts need from the system: a Python, a Java, packages. Sourced, not run.

fail() {
    echo "$0: $*" >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then
        "$@"
        return
    fi
    command -v sudo >/dev/null || fail "please run as root: $*"
    sudo "$@"
}

know_packages() { # a new machine has no lists yet
    command -v apt-get >/dev/null || fail "please install $1 with this system's package manager"
    as_root apt-get update -q >&2 || true # a broken foreign source need not matter
}

install_package() { # by apt, where it is there and we may
    know_packages "$1"
    echo "installing $1 by apt-get" >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$1" >&2 || fail "apt-get could not install $1"
}

is_recent_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in python3.11 python3 python3.12 python3.13 python3.14; do
        if is_recent_python "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or newer is needed; on Debian 12: apt-get install python3; or see python.org"
}

java_major() { # of the Java that Spark will start: 17, or nothing
    local java=java
    [[ -n ${JAVA_HOME:-} ]] && java=$JAVA_HOME/bin/java
    "$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1
}

require_java() { # Spark 4 needs 17 or newer
    local major
    major=$(java_major) || true
    ((${major:-0} >= 17)) && return
    [[ -z ${JAVA_HOME:-} ]] || fail "JAVA_HOME is $JAVA_HOME, which is no Java 17 or newer; unset or mend it"
    know_packages "Java 17 or newer"
    if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then
        install_package openjdk-17-jre-headless
    else
        install_package default-jre-headless
    fi
    major=$(java_major) || true
    ((${major:-0} >= 17)) || fail "Java 17 or newer is needed; 'java -version' finds ${major:-none}"
}

use_venv() { # as activating it would; Spark takes no path with a space in it for its workers' Python
    export PATH=$PWD/.venv/bin:$PATH PYSPARK_PYTHON=python
}
