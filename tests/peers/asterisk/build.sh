#!/usr/bin/env bash
# Unpacks a real Asterisk, baresip and sipp into a cache folder, where the tests find them:
#   build.sh [FOLDER]     by default ${XDG_CACHE_HOME:-~/.cache}/patchbay/asterisk; an existing one is kept
# Nothing is installed, and no root rights are needed: apt resolves and downloads with a state of its own, and dpkg-deb
# unpacks. The packages are those of Debian's testing suite, since stable has no Asterisk; they bring their own C
# library and loader. Needs apt-get, dpkg-deb and Debian's keyring. ASTERISK_SUITE and DEBIAN_MIRROR choose others.
set -euo pipefail
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/patchbay/asterisk}
suite=${ASTERISK_SUITE:-forky}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

give_up() { echo "asterisk: $1; the tests with a real PBX are skipped" >&2; exit 1; }

[ -e "$folder/ready" ] && exit 0
for tool in apt-get dpkg-deb; do command -v "$tool" >/dev/null || give_up "there is no $tool here"; done
[ "$(dpkg --print-architecture)" = amd64 ] || give_up "only amd64 is supported"
[ -r "$keyring" ] || give_up "Debian's keyring is missing (debian-archive-keyring)"

# The mirror from which this machine's own apt takes Debian's main archive, if it does.
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sort -u | grep '/debian/$' | head -n 1 || true)}
mirror=${mirror:-http://deb.debian.org/debian/}

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
apt=$work/apt
mkdir -p "$apt/etc/none.d" "$apt/etc/apt.conf.d" "$apt/state/lists/partial" "$apt/cache/archives/partial" "$work/root"
: > "$apt/status"
echo "deb [arch=amd64 signed-by=$keyring] $mirror $suite main" > "$apt/etc/sources.list"
# A mirror may hold a testing suite whose Release file is past its date; its signature is checked all the same.
cat > "$apt/apt.conf" <<CONF
Dir "$apt"; Dir::State "$apt/state"; Dir::State::status "$apt/status";
Dir::Cache "$apt/cache"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Dir::Etc "$apt/etc"; Dir::Etc::sourcelist "$apt/etc/sources.list";
Dir::Etc::sourceparts "none.d"; Dir::Etc::preferencesparts "none.d";
APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Install-Recommends "false"; APT::Sandbox::User "";
Acquire::Check-Valid-Until "false"; Acquire::Languages "none"; Acquire::Retries "2"; Debug::NoLocking "true";
CONF
export APT_CONFIG=$apt/apt.conf
apt-get -qq update || give_up "the package lists of $suite cannot be downloaded"
apt-get -qq -y --download-only install asterisk asterisk-modules baresip-core sip-tester >/dev/null ||
  give_up "the packages cannot be downloaded"
for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
rm -rf "$apt" "$work/root/usr/share/doc" "$work/root/usr/share/man" "$work/root/usr/share/locale"
touch "$work/ready"
chmod 755 "$work"
# Another build may have been faster; its result is as good. `-T`, so that ours does not end up inside it.
mv -T "$work" "$folder" 2>/dev/null || [ -e "$folder/ready" ]
