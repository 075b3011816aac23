# SPDX-License-Identifier: BSD-2-Clause
# Backup of what makes this site: identity, users, settings. Records are not in it: the overlay has copies of them.

BACKUP_SIZE_MAX=$((64 * 1024 * 1024)) # octets

backup_make() {
	local file=$1 list=()
	[ -s "$NODE/node.key" ] || { complain "There is nothing to save yet: this machine has no certificate."; return 1; }
	local each
	for each in ringgate/overlay.xml ringgate/node.crt ringgate/node.key ringgate/users ringgate/sip-passwords ringgate-appliance/settings ringgate-appliance/identity \
		ringgate-appliance/password ringgate-appliance/ca.pem ringgate-appliance/health.d; do
		[ ! -e "$ROOT/var/lib/$each" ] || list+=("$each")
	done
	(umask 077 && tar -C "$ROOT/var/lib" --sort=name --numeric-owner -cf "$file.new" "${list[@]}") && sync "$file.new" && mv -f "$file.new" "$file" || {
		rm -f "$file.new"
		complain "$file cannot be written."
		return 1
	}
	echo "$file holds the keys of this site: keep it where nobody else reads it."
}

# Names in a backup are checked before anything is unpacked: it may come from a stick.
backup_usable() {
	local file=$1 name
	[ "$(stat -L -c %s "$file" 2>/dev/null || echo 0)" -gt 0 ] || { complain "$file cannot be read."; return 1; }
	[ "$(stat -L -c %s "$file")" -le $BACKUP_SIZE_MAX ] || { complain "$file is too large for a backup."; return 1; }
	tar -tf "$file" >"$RUN/names" 2>/dev/null || { complain "$file is no backup."; return 1; }
	while IFS= read -r name; do
		[[ $name =~ ^ringgate/(overlay\.xml|node\.crt|node\.key|sip-passwords|users/([A-Za-z0-9@._+=~-]+)?)$ ||
			$name =~ ^ringgate-appliance/(settings|identity|password|ca\.pem|health\.d/[A-Za-z0-9._-]*)$ ]] || {
			complain "$file is no backup of an appliance: it has $name."
			return 1
		}
	done <"$RUN/names"
	! tar -tvf "$file" | grep -qv '^[-d]' || { complain "$file has links or devices in it; that is no backup."; return 1; }
	grep -qx ringgate/node.key "$RUN/names" || { complain "$file has no key of a node in it."; return 1; }
}

# Leaves ringgated stopped: settings come with a backup, and who called has services take them first.
backup_restore() {
	local file=$1 fresh=$ROOT/var/lib/ringgate-restore
	mkdir -p "$RUN"
	backup_usable "$file" || return 1
	rm -rf "$fresh" && mkdir -m 0700 "$fresh" && tar -C "$fresh" --warning=no-timestamp --no-same-owner --no-same-permissions -xf "$file" && sync -f "$fresh" || {
		complain "$file cannot be unpacked: is the disk full?"
		rm -rf "$fresh"
		return 1
	}
	[ -n "$ROOT" ] || systemctl stop ringgated.service 2>/dev/null
	mkdir -p -m 0700 "$NODE/users" "$STATE"
	# The key comes last: without one, a machine that lost its power in between takes the backup of its stick again.
	rm -f "$NODE/node.key" && sync -f "$NODE" && mv "$fresh/ringgate/node.key" "$fresh/" &&
		{ [ ! -d "$fresh/ringgate-appliance" ] || cp -a "$fresh/ringgate-appliance/." "$STATE/"; } && cp -a "$fresh/ringgate/." "$NODE/" &&
		sync -f "$NODE" && mv "$fresh/node.key" "$NODE/" || {
		complain "What $file has cannot be put in its place: is the disk full?"
		rm -rf "$fresh"
		return 1
	}
	rm -rf "$fresh" "$NODE"/records.db* "$NODE"/phones.db* "$NODE/peers"
	chown -R ringgate:ringgate "$NODE" 2>/dev/null
	chmod -R go= "$NODE" "$STATE"
	sync -f "$STATE"
	echo "Identity, users and settings are those of $file."
}

backup_forget() {
	[ -n "$ROOT" ] || systemctl stop ringgated.service
	rm -rf "${NODE:?}"/* "${STATE:?}"/* "$ESP/ringgate.settings"
	sync -f "$STATE"
	echo "Everything of this site is removed. At the next start the machine looks for settings."
}
