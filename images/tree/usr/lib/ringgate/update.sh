# SPDX-License-Identifier: BSD-2-Clause
# Updates into the slot that is not running. A file NAME.update is a tar of manifest, manifest.sig, root.zst, verity.zst and uki.efi in this
# order; the manifest has version, root hash, sizes and digests, and is signed with the key of who makes the images. The new version is
# tried twice; systemd-boot goes back to the one before when it did not become healthy (ringgate-health.service).

UPDATE_KEY=$ROOT/usr/lib/ringgate/update.pem
UPDATE_SLOT_MAX=$((512 * 1024 * 1024)) # octets of a root file system, the size of a slot
UPDATE_UKI_MAX=$((128 * 1024 * 1024))
EFI_LOADER=/sys/firmware/efi/efivars

# The two partitions of the root hash are named after it: its first half is the UUID of the root, its second that of the verity tree.
uuid_of_hash() { sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/\1-\2-\3-\4-\5/' <<<"${1:$2:32}"; }
running_hash() { sed -nE 's/.*\broothash=([0-9a-f]{64}).*/\1/p' "$ROOT/proc/cmdline" 2>/dev/null; }
running_slot() {
	local label
	label=$(blkid -o value -s PARTLABEL -t PARTUUID="$(uuid_of_hash "$(running_hash)" 0)" 2>/dev/null | head -n 1)
	case $label in ringgate-a | ringgate-b) echo "${label#ringgate-}" ;; *) return 1 ;; esac
}
slot_device() { blkid -o device -t PARTLABEL="ringgate-$1" 2>/dev/null | head -n 1; }

# Whether the entry that was started still counts its attempts: then it is not blessed yet.
on_trial() { compgen -G "$EFI_LOADER/LoaderBootCountPath-*" >/dev/null && bootctl status 2>/dev/null | grep -q . && /usr/lib/systemd/systemd-bless-boot status 2>/dev/null | grep -qE 'indeterminate|bad'; }

# The state of the last update, for the status page.
update_trouble() {
	local wanted
	wanted=$(cat "$STATE/update-to" 2>/dev/null) || return 0
	[ -n "$wanted" ] && [ "$wanted" != "$VERSION" ] && [ -e "$STATE/update-started" ] || return 0
	if [ "$(cat "$STATE/update-started")" != "$(cat "$ROOT/proc/sys/kernel/random/boot_id" 2>/dev/null)" ]; then
		echo "The update to $wanted did not become healthy; version $VERSION runs again."
	fi
}

# A version that is installed and was not started yet; for the status page.
update_waiting() {
	local wanted
	wanted=$(cat "$STATE/update-to" 2>/dev/null)
	[ -n "$wanted" ] && [ "$wanted" != "$VERSION" ] &&
		[ "$(cat "$STATE/update-started" 2>/dev/null)" = "$(cat "$ROOT/proc/sys/kernel/random/boot_id" 2>/dev/null)" ] || return 0
	echo "version $wanted is installed and starts next"
}

update_status() {
	local slot
	slot=$(running_slot) || slot="none (this system was not started from a slot)"
	printf '%-14s %s\n' running "${VERSION:-?}" slot "$slot"
	local each
	for each in "$ESP"/EFI/Linux/ringgate_*.efi; do
		[ -e "$each" ] || continue
		printf '%-14s %s\n' installed "$(basename "$each" .efi | sed -E 's/^ringgate_//; s/\+([0-9]+)(-[0-9]+)?$/ (on trial, \1 attempts left)/; s/on trial, 0 attempts left/starts only if no other does/')"
	done
	update_trouble | sed 's/^/! attention    /'
}

manifest_value() { sed -nE "s/^$1 = ([A-Za-z0-9._+-]+)\$/\1/p" "$work/manifest" | head -n 1; }

# Members have to come in their order, so that nothing unchecked is ever unpacked.
update_member() { tar -xOf "$file" --occurrence=1 "$1" 2>/dev/null; }

update_write() { # MEMBER DEVICE
	local member=$1 device=$2 size wanted found
	size=$(manifest_value "$member-size") wanted=$(manifest_value "$member-sha256")
	[[ $size =~ ^[0-9]{1,10}$ && $wanted =~ ^[0-9a-f]{64}$ ]] || { complain "The manifest says nothing of $member."; return 1; }
	[ "$size" -le "$(blockdev --getsize64 "$device")" ] || { complain "The new $member does not fit into $device."; return 1; }
	update_member "$member.zst" | zstd -dcq --memory=128MB 2>/dev/null | head -c "$size" | dd of="$device" bs=1M conv=fsync iflag=fullblock status=none ||
		{ complain "$device cannot be written."; return 1; }
	found=$(head -c "$size" "$device" | sha256sum | cut -d' ' -f1)
	[ "$found" = "$wanted" ] || { complain "What was written to $device is not what the update has: the file is damaged, or the disk."; return 1; }
}

# Whether FILE is nothing to install by itself: its version runs, waits for the next start, or was given up. This is no check of the file.
update_tried() {
	local version wanted
	version=$(tar -xOf "$1" --occurrence=1 manifest 2>/dev/null | head -c 4096 | sed -n 's/^version = //p' | head -n 1)
	wanted=$(cat "$STATE/update-to" 2>/dev/null)
	[ -n "$version" ] && { [ "$version" = "$VERSION" ] || { [ "$version" = "$wanted" ] && [ -e "$STATE/update-started" ]; }; }
}

older() { [ "$(printf '%s\n%s\n' "$VERSION" "$1" | sort -V | tail -n 1)" != "$1" ]; } # than the version that runs

update_install() {
	local file=$1 reboot=${2:-} work slot other root verity version hash entry
	[ -z "$reboot" ] || [ "$reboot" = --reboot ] || misused "update takes a file and perhaps --reboot"
	[ -s "$file" ] || { complain "$file cannot be read."; return 1; }
	slot=$(running_slot) || { complain "This system was not started from a slot of the image: use apt here."; return 1; }
	[ "$slot" = a ] && other=b || other=a
	root=$(slot_device $other) verity=$(slot_device $other-verity)
	[ -b "$root" ] && [ -b "$verity" ] || { complain "The other slot is missing on this disk."; return 1; }
	[ -d "$ESP/EFI/Linux" ] || { complain "The boot partition is not mounted at $ESP."; return 1; }
	mkdir -p "$RUN/update" && work=$RUN/update
	exec 9>"$RUN/update.lock" && flock -n 9 || { complain "Another update is under way."; return 1; }
	update_member manifest | head -c 4096 >"$work/manifest"
	update_member manifest.sig | head -c 4096 >"$work/manifest.sig"
	openssl dgst -sha256 -verify "$UPDATE_KEY" -signature "$work/manifest.sig" "$work/manifest" >/dev/null 2>&1 ||
		{ complain "$file is not signed by who made this system; nothing was changed."; return 1; }
	version=$(manifest_value version) hash=$(manifest_value roothash)
	[[ $version =~ ^[0-9][0-9A-Za-z.]*$ && $hash =~ ^[0-9a-f]{64}$ && $(manifest_value architecture) = "$(uname -m)" ]] ||
		{ complain "$file is not for this machine."; return 1; }
	[ "$version" != "$VERSION" ] || { complain "Version $version runs already."; return 1; }
	! older "$version" || [ -e "$STATE/allow-downgrade" ] ||
		{ complain "$version is older than $VERSION; touch $STATE/allow-downgrade if that is meant."; return 1; }

	# From here on only the running version can be started, until the new one is whole.
	on_trial && { complain "Version $VERSION is on trial itself; wait until it is healthy."; return 1; }
	for entry in "$ESP"/EFI/Linux/ringgate_*.efi; do
		case $(basename "$entry") in "ringgate_$VERSION.efi" | "ringgate_$VERSION+"*) ;; *) rm -f "$entry" ;; esac
	done
	sync -f "$ESP"
	update_write root "$root" && update_write verity "$verity" || return 1
	sfdisk -q --no-reread --part-uuid "$(disk_of "$root")" "$(number_of "$root")" "$(uuid_of_hash "$hash" 0)" &&
		sfdisk -q --no-reread --part-uuid "$(disk_of "$verity")" "$(number_of "$verity")" "$(uuid_of_hash "$hash" 32)" ||
		{ complain "The partition table cannot be changed."; return 1; }
	update_member uki.efi | head -c $UPDATE_UKI_MAX >"$ESP/EFI/Linux/new.tmp" && sync "$ESP/EFI/Linux/new.tmp"
	[ "$(sha256sum <"$ESP/EFI/Linux/new.tmp" | cut -d' ' -f1)" = "$(manifest_value uki-sha256)" ] ||
		{ rm -f "$ESP/EFI/Linux/new.tmp"; complain "The boot partition is full, or the file is damaged."; return 1; }
	echo "$version" | write_file "$STATE/update-to" && write_file "$STATE/update-started" <"$ROOT/proc/sys/kernel/random/boot_id"
	mv -f "$ESP/EFI/Linux/new.tmp" "$ESP/EFI/Linux/ringgate_$version+2.efi" && sync -f "$ESP"
	# The boot loader takes the newest version that has attempts left: on the way back, this one is to have none, and is the next nevertheless
	# when the other one has used up its own.
	if older "$version"; then
		for entry in "$ESP/EFI/Linux/ringgate_$VERSION".efi "$ESP/EFI/Linux/ringgate_$VERSION+"*.efi; do
			[ ! -e "$entry" ] || mv -f "$entry" "$ESP/EFI/Linux/ringgate_$VERSION+0-1.efi"
		done
		sync -f "$ESP"
	fi
	echo "Version $version is in slot $other and starts next; if it does not become healthy, $VERSION starts again."
	[ -z "$reboot" ] || systemctl --no-block reboot
}

disk_of() { echo "/dev/$(lsblk -n -o PKNAME "$1" | head -n 1)"; }
number_of() { cat "/sys/class/block/$(basename "$(realpath "$1")")/partition"; }
