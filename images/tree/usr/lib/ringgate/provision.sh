# SPDX-License-Identifier: BSD-2-Clause
# From the settings to the files services read. All of these are made anew at every start, in memory; what lasts is in $STATE.

# write_file PATH [MODE]: standard input becomes the file, as a whole or not at all, and on disk.
write_file() {
	local path=$1 mode=${2:-0644}
	mkdir -p "${path%/*}" && (umask 077 && cat >"$path.new") && chmod "$mode" "$path.new" && sync "$path.new" && mv -f "$path.new" "$path"
}

# Settings are taken over: kept, the password apart, and if they name another account or overlay, with the old identity out of the way.
settings_keep() {
	local identity before
	mkdir -p -m 0700 "$STATE" || return 1
	identity="${SETTING[overlay]:-} ${SETTING[user]:-}"
	before=$(cat "$STATE/identity" 2>/dev/null)
	if [ -n "$before" ] && [ "$before" != "$identity" ] && [ -e "$NODE/node.crt" ]; then
		local former
		former=$NODE/former-$(date -u +%Y%m%dT%H%M%S)
		mkdir -m 0700 "$former" && mv "$NODE"/node.* "$NODE/overlay.xml" "$NODE/users" "$NODE"/records.db* "$NODE"/phones.db* "$NODE"/sip-passwords "$former/" 2>/dev/null
		echo "The settings name another site: what belonged to \"$before\" is in $former."
	fi
	if [ -n "${SETTING[password]:-}" ]; then
		printf '%s\n' "${SETTING[password]}" | write_file "$STATE/password" 0600 || return 1
	elif [ "$before" != "$identity" ] || [ ! -e "$STATE/password" ]; then
		: | write_file "$STATE/password" 0600 || return 1
	fi
	settings_write | write_file "$STATE/settings" 0600 || return 1
	printf '%s\n' "$identity" | write_file "$STATE/identity" 0600
}

# Passwords of phones are kept as what digest authentication needs, never as they are. A user whose password cannot be kept is told.
phones_keep() {
	local user status=0
	[ ${#PHONE[@]} -gt 0 ] || return 0
	[ -d "$NODE" ] || mkdir -p -m 0700 "$NODE"
	[ -n "$ROOT" ] || chown ringgate:ringgate "$NODE"
	for user in "${!PHONE[@]}"; do
		if [ "${PHONE[$user]}" = none ]; then
			"$CTL" sip forget "$user" --directory "$NODE" >/dev/null 2>&1 # one that had none is as well
		elif ! "$CTL" sip passwd "$user" --password-file - --directory "$NODE" >/dev/null 2>"$RUN/phones" <<<"${PHONE[$user]}"; then
			complain "The password of the phones of $user cannot be kept: $(sed 's/^ringgatectl: //' "$RUN/phones")"
			status=1
		fi
	done
	return $status
}

# import FILE: settings from outside, together with the roots beside them; a password does not stay where it came from.
import() {
	local file=$1 copy
	settings_read "$file" || return 1
	if ! settings_keep; then
		complain "The settings in $file cannot be kept: the state partition cannot be written. They are used until the next start."
		mkdir -p "$RUN" && settings_write >"$RUN/settings"
		TAKEN=yes
		return 0
	fi
	mkdir -p -m 0755 "$RUN"
	rm -f "$RUN/settings" # of a time when none could be kept
	local phones=0
	phones_keep || phones=$?
	[ ! -s "${file%/*}/ringgate-ca.pem" ] || write_file "$STATE/ca.pem" <"${file%/*}/ringgate-ca.pem"
	sync -f "$STATE" # before a password is removed from where it came from
	if [ "${SETTING[password]:-}${#PHONE[@]}" != 0 ] && [ $phones -eq 0 ] && [ -w "$file" ] && [ "${2:-}" != keep ]; then
		copy=$(sed -E -e 's/^(\xef\xbb\xbf)?[[:space:]]*password[[:space:]]*=.*/# The password was taken over and removed./' \
			-e 's/^(\xef\xbb\xbf)?[[:space:]]*phone[[:space:]]*=[[:space:]]*([^[:space:]]+).*/# The password of the phones of \2 was taken over and removed./' "$file") &&
			printf '%s\n' "$copy" >"$file.new" && sync "$file.new" && mv -f "$file.new" "$file"
	fi
	TAKEN=yes
	[ $phones -ne 0 ] || [ -z "${lasting:-}" ] || sources_remember "${lasting[@]}"
	echo "Settings of $file are in force."
}

# Whether there is something to take over: other settings than those in force, or a password.
settings_new() { ! (settings_read "$1" && [ "${SETTING[password]:-}${#PHONE[@]}" = 0 ] && settings_write | cmp -s - "$STATE/settings") 2>/dev/null; }

# What lies in a place at every start is taken when it has changed, not when other settings have taken its place since: digests of files.
source_known() { grep -qxF "$(sha256sum "$1")" "$STATE/sources" 2>/dev/null; }
sources_remember() { # FILE…
	local file
	[ ! -s "$RUN/settings" ] || return 0 # those that cannot be kept are taken again
	{
		for file in "$@"; do [ ! -s "$file" ] || sha256sum "$file"; done
		cat "$STATE/sources" 2>/dev/null
	} | awk '!seen[$2]++' | write_file "$STATE/sources" 0600 2>/dev/null
}

settings_of_command_line() {
	local word
	for word in $(cat "$ROOT/proc/cmdline" 2>/dev/null); do
		[[ $word == ringgate.*=* ]] || continue
		word=${word#ringgate.}
		printf '%s = %s\n' "${word%%=*}" "$(tr , ' ' <<<"${word#*=}")"
	done
}

stick_mount() {
	local device
	device=$(blkid -L RINGGATE 2>/dev/null) || return 1
	mkdir -p "$RUN/stick" && mount -o nosuid,nodev,noexec,sync "$device" "$RUN/stick" 2>/dev/null ||
		mount -o ro,nosuid,nodev,noexec "$device" "$RUN/stick"
}
stick_unmount() { umount "$RUN/stick" 2>/dev/null; }

# Whether the last source that said something could be used is remembered for the status page. TAKEN is yes if anything is new.
provision_find() {
	local problem=$RUN/problem backup=$RUN/stick/ringgate-backup.tar file
	local -a lasting=("$ESP/ringgate.settings" "$RUN/command-line" "${CREDENTIALS_DIRECTORY:-/nowhere}/ringgate.settings")
	TAKEN=
	: >"$problem"
	if [ -d "$RESTORE" ]; then
		backup_take 2>>"$problem" && echo "The backup whose restore was interrupted is restored."
	fi
	if [ -s "$backup" ] && [ ! -e "$NODE/node.key" ]; then
		backup_restore "$backup" 2>>"$problem"
	elif [ -s "$backup" ] && ! tar -xOf "$backup" ringgate/node.key 2>/dev/null | cmp -s - "$NODE/node.key"; then
		complain "The backup on the stick is not restored: this machine has an identity already. Pull the stick out, or remove that identity with ringgate-appliance forget --yes and restart." 2>>"$problem"
	fi
	settings_of_command_line >"$RUN/command-line"
	[ -z "$TAKEN" ] || sources_remember "${lasting[@]}" # a backup brings its settings
	for file in "$RUN/stick/ringgate.settings" "${lasting[@]}"; do
		[ -s "$file" ] || continue
		[ "$file" = "$RUN/stick/ringgate.settings" ] || ! source_known "$file" || return 0
		if ! settings_new "$file"; then
			sources_remember "$file"
			return 0
		fi
		if import "$file" "$([ "$file" = "$RUN/command-line" ] && echo keep)" 2>>"$problem"; then return 0; fi
	done
}

networks_of() { # FAMILY LIST
	local each list=''
	for each in $2; do case "$1 $each" in "6 "*:* | "4 "*.*) [[ $1 = 4 && $each = *:* ]] || list+="${list:+, }$each" ;; esac; done
	printf '%s' "$list"
}

provision_network() {
	local each name=${SETTING[hostname]:-}
	# Also the name of settings before, if these have none.
	[ -n "$name" ] || [ "$(cat "$ROOT/etc/hostname" 2>/dev/null)" = ringgate ] || name=ringgate
	if [ -n "$name" ]; then
		echo "$name" >"$ROOT/etc/hostname"
		[ -n "$ROOT" ] || hostname "$name"
	fi
	rm -f "$ROOT/run/systemd/network/50-ringgate.network" "$ROOT/run/systemd/timesyncd.conf.d/50-ringgate.conf"
	mkdir -p "$ROOT/run/systemd/network" "$ROOT/run/systemd/timesyncd.conf.d"
	if [ "${SETTING[address]:-dhcp}" != dhcp ] || [ -n "${SETTING[interface]:-}${SETTING[dns]:-}" ]; then
		{
			if [ -n "${SETTING[interface]:-}" ]; then printf '[Match]\nName=%s\n' "${SETTING[interface]}"; else printf '[Match]\nType=ether\n'; fi
			printf '[Network]\n'
			if [ "${SETTING[address]:-dhcp}" = dhcp ]; then echo "DHCP=yes"; fi
			for each in ${SETTING[address]:-}; do [ "$each" = dhcp ] || printf 'Address=%s\n' "$each"; done
			for each in ${SETTING[gateway]:-}; do printf 'Gateway=%s\n' "$each"; done
			for each in ${SETTING[dns]:-}; do printf 'DNS=%s\n' "$each"; done
		} >"$ROOT/run/systemd/network/50-ringgate.network"
	fi
	[ -z "${SETTING[ntp]:-}" ] || printf '[Time]\nNTP=%s\n' "${SETTING[ntp]}" >"$ROOT/run/systemd/timesyncd.conf.d/50-ringgate.conf"
}

provision_firewall() {
	local allow=${SETTING[sip-allow]:-10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 fc00::/7 fe80::/10}
	local four six metrics=${SETTING[metrics]:-off}
	four=$(networks_of 4 "$allow") six=$(networks_of 6 "$allow")
	{
		[ -z "$four" ] || echo "add element inet ringgate site4 { $four }"
		[ -z "$six" ] || echo "add element inet ringgate site6 { $six }"
		[ "${SETTING[sip]:-on}" != on ] || echo "add element inet ringgate site_ports { 5060 }"
		case $metrics in
		off | 127.* | \[::1\]*) ;;
		*) echo "add element inet ringgate site_ports { $([[ $metrics =~ [].0-9]:([0-9]+)$ && $metrics != *\] ]] && echo "${BASH_REMATCH[1]}" || echo 9464) }" ;;
		esac
		[ -z "${SETTING[ssh-key]:-}" ] || echo "add element inet ringgate shell_ports { 22 }"
	} | write_file "$RUN/firewall.nft"
}

# What the settings open is not worth a machine that is open altogether.
firewall_close() {
	sed '/^include/d' "$ROOT/etc/nftables.conf" | nft -f - || return 1
	echo "The firewall cannot be made of the settings: neither phones nor shells reach this machine. Look at: journalctl -b -u nftables" >>"$RUN/problem"
}

provision_gateway() {
	local file=$ROOT/etc/ringgate/ringgate.conf.d/50-appliance.conf
	rm -f "$RUN/enrolls"
	mkdir -p "${file%/*}"
	{
		echo "# Made from the settings of the appliance at every start: change those."
		printf '[node]\nfirst-node = %s\nlog-level = %s\n' "${SETTING[first-node]:-no}" "${SETTING[log-level]:-info}"
		printf '[links]\nfastpath = %s\n' "${SETTING[fast-path]:-auto}"
		[ -z "${SETTING[bootstrap]:-}" ] || echo "bootstrap = ${SETTING[bootstrap]}"
		printf '[sip]\nenabled = %s\n' "$([ "${SETTING[sip]:-on}" = on ] && echo yes || echo no)"
		[ -z "${SETTING[sip-mode]:-}" ] || echo "mode = ${SETTING[sip-mode]}"
		[ -z "${SETTING[sip-digest]:-}" ] || echo "digest-algorithms = ${SETTING[sip-digest]}"
		[ -z "${SETTING[sip-allow]:-}" ] || echo "allow = 127.0.0.0/8 ::1/128 ${SETTING[sip-allow]}"
		[ -z "${SETTING[metrics]:-}" ] || printf '[metrics]\nlisten = %s\n' "${SETTING[metrics]}"
		if [ -n "${SETTING[user]:-}" ]; then
			printf '[enroll]\nserver = %s\nuser = %s\n' "${SETTING[overlay]}" "${SETTING[user]}"
			echo "password-file = /run/credentials/ringgated.service/enroll-password"
			[ -z "${SETTING[server-address]:-}" ] || echo "address = ${SETTING[server-address]}"
			[ "${SETTING[users]:-no}" = no ] || echo "users = ${SETTING[users]}"
			[ ! -s "$STATE/ca.pem" ] || echo "ca-file = /etc/ringgate/ca.pem"
			: >"$RUN/enrolls"
		fi
	} >"$file"
	[ ! -s "$STATE/ca.pem" ] || install -m 0644 "$STATE/ca.pem" "$ROOT/etc/ringgate/ca.pem"
}

provision_shells() {
	local password=${SETTING[console-password-hash]:-}
	[ -n "$password" ] || [ ! -e "$RUN/console" ] || password='*' # that of settings before ends with them
	rm -f "$RUN/ssh" "$RUN/console"
	[ -z "${SETTING[ssh-key]:-}" ] || printf '%s\n' "${SETTING[ssh-key]}" >"$RUN/ssh"
	[ -z "${SETTING[console-password-hash]:-}" ] || : >"$RUN/console"
	[ -z "$password" ] || printf 'root:%s\n' "$password" | chpasswd -e ${ROOT:+-R "$ROOT"}
}

provision_host_keys() {
	local key=$STATE/ssh_host_ed25519_key
	# One that a power cut left half written is made anew.
	ssh-keygen -y -P '' -f "$key" >/dev/null 2>&1 && return
	rm -f "$key" "$key".new* && ssh-keygen -q -t ed25519 -N '' -f "$key.new" && sync "$key.new" && mv -f "$key.new" "$key" && rm -f "$key.new.pub"
}

# Services as the settings want them.
provision_write() {
	SETTING=()
	if [ -s "$RUN/settings" ]; then
		settings_read "$RUN/settings" || true
	elif [ -s "$STATE/settings" ]; then
		settings_read "$STATE/settings" 2>>"$RUN/problem" || echo "The settings kept on this machine are damaged: bring them again." >>"$RUN/problem"
	fi
	provision_network
	provision_firewall
	provision_gateway
	provision_shells
}

BOOTING=
provision() {
	BOOTING=yes
	mkdir -p "$RUN" && chmod 0755 "$RUN"
	# A disk without state yet, or one that cannot be written, is no reason to stop here.
	mkdir -p -m 0700 "$STATE" 2>/dev/null && [ -e "$STATE/password" ] || : | write_file "$STATE/password" 0600 2>/dev/null
	mkdir -p "$ROOT/var/spool" 2>/dev/null
	stick_mount 2>/dev/null
	provision_find
	stick_unmount
	[ ! -s "$RUN/problem" ] || cat "$RUN/problem" >&2
	provision_write
}

# After a change in service: what reads the files is started again. Links over which the kernel forwards stay.
provision_again() {
	provision_write
	[ -n "$ROOT" ] && return 0
	systemctl daemon-reload
	networkctl reload 2>/dev/null
	systemctl try-restart systemd-timesyncd.service
	systemctl reload-or-restart nftables.service # all rules at once: there is no moment without
	systemctl restart ssh.service 2>/dev/null
	# Nobody waits for the gateway: its start does not end before the clock is right.
	systemctl --no-block restart ringgated.service
}

settings_apply() {
	import "$1" keep || return 1
	rm -f "$RUN/problem" # of settings before
	provision_again
}

restore() {
	backup_restore "$1" || return 1
	rm -f "$RUN/problem"
	provision_again
}

provision_stick() {
	local update
	stick_mount || { complain "The stick named RINGGATE cannot be read: format it with FAT32, exFAT or ext4." 2>"$RUN/problem"; return 1; }
	trap stick_unmount EXIT
	provision_find
	# A stick that stays plugged in is seen again at each start: then it has nothing new.
	[ -z "$TAKEN" ] || provision_again
	for update in "$RUN"/stick/*.update; do
		[ ! -s "$update" ] || update_tried "$update" || update_install "$update" 2>>"$RUN/problem"
	done
}
