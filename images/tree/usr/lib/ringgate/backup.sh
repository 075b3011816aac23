# SPDX-License-Identifier: BSD-2-Clause
# Backup of what makes this site: identity, users, settings. Records are not in it: the overlay has copies of them.

BACKUP_SIZE_MAX=$((64 * 1024 * 1024)) # octets
RESTORE=$ROOT/var/lib/ringgate-restore # a backup that is whole, and not in its place yet

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
	local file=$1
	mkdir -p "$RUN"
	backup_usable "$file" || return 1
	rm -rf "$RESTORE" "$RESTORE.new" && mkdir -m 0700 "$RESTORE.new" &&
		tar -C "$RESTORE.new" --warning=no-timestamp --no-same-owner --no-same-permissions -xf "$file" && sync -f "$RESTORE.new" &&
		mv "$RESTORE.new" "$RESTORE" && sync -f "$RESTORE" || {
		complain "$file cannot be unpacked: is the disk full?"
		rm -rf "$RESTORE.new"
		return 1
	}
	backup_take || return 1
	echo "Identity, users and settings are those of $file."
}

# What is in $RESTORE takes the place of what is there: users, phones and settings of two sites do not mix. A machine that loses its
# power meanwhile does it again, from the beginning, at its next start.
backup_take() {
	TAKEN=yes
	# At boot it does not run yet, and stopping would take back that it is to be started.
	[ -n "$ROOT$BOOTING" ] || systemctl stop ringgated.service 2>/dev/null
	(cd "$STATE" 2>/dev/null && rm -rf settings identity password ca.pem health.d)
	rm -rf "$NODE"/{node.key,node.crt,overlay.xml,users,sip-passwords,peers} "$NODE"/records.db* "$NODE"/phones.db*
	mkdir -p -m 0700 "$NODE/users" "$STATE"
	{ [ ! -d "$RESTORE/ringgate-appliance" ] || cp -a "$RESTORE/ringgate-appliance/." "$STATE/"; } && cp -a "$RESTORE/ringgate/." "$NODE/" || {
		complain "What the backup has cannot be put in its place: is the disk full? The gateway waits; the next start tries it again."
		return 1
	}
	[ -e "$STATE/password" ] || : | write_file "$STATE/password" 0600
	chown -R ringgate:ringgate "$NODE" 2>/dev/null
	chmod -R go= "$NODE" "$STATE"
	sync -f "$STATE"
	rm -rf "$RESTORE" "$RUN/settings"
}

backup_forget() {
	[ -n "$ROOT" ] || systemctl stop ringgated.service
	rm -rf "${NODE:?}"/* "${STATE:?}"/* "$RESTORE" "$RESTORE.new" "$ESP/ringgate.settings"
	sync -f "$STATE"
	echo "Everything of this site is removed. At the next start the machine looks for settings."
}
