#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes the Debian packages of this tree in $BUILD/deb: from a copy, so that nothing of this build is in them.
#   build-deb.sh [DIRECTORY]    packages go there instead
#   PREBUILT=/path/to/build build-deb.sh …    with the programs there, which is for tests of the packages alone
# In a git clone the copy has the files git knows, as they are in the work tree. Same tree and same compiler, same packages.
set -eu
cd "$(dirname "$0")/.."
OUTPUT=$(realpath -m "${1:-${BUILD:-build}/deb}")
COPY=$OUTPUT/source
mkdir -p "$OUTPUT"
rm -rf "$COPY" "$OUTPUT"/*.deb
mkdir "$COPY"
if [ -e .git ]; then
	# Not those that were deleted and not committed.
	git -c safe.directory="$PWD" ls-files -z | xargs -0 -r ls -d 2>/dev/null | tar -cf - -T - | tar -xf - -C "$COPY"
else
	tar -cf - --exclude='./build*' . | tar -xf - -C "$COPY"
fi
cp -a appliance/debian "$COPY/debian"
cd "$COPY"
[ "$(sed -n 's/^VERSION := //p' Makefile)" = "$(dpkg-parsechangelog -S Version)" ] || {
	echo "Makefile and appliance/debian/changelog name different versions." >&2
	exit 1
}
# What make hands to its children is for this tree, not for the copy.
if ! env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u BUILD -u SAN -u CI -u DESTDIR -u PREFIX \
	dpkg-buildpackage ${PREBUILT:+-d} -b -us -uc -j"${JOBS:-2}" >"$OUTPUT/build.log" 2>&1; then
	tail -n 25 "$OUTPUT/build.log" >&2
	echo "The packages could not be built; all of it is in $OUTPUT/build.log" >&2
	exit 1
fi
cd "$OUTPUT"
rm -rf "$COPY"
ls ./*.deb | sed 's|^\./|  |'
