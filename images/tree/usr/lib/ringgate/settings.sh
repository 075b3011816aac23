# SPDX-License-Identifier: BSD-2-Clause
# The settings file: lines "name = value", # comments. Nothing in it is ever run or expanded by a shell.
# settings_read FILE puts the values into SETTING[name], and phones' passwords into PHONE[user]; both stay as they were when a line is
# wrong.

declare -A SETTING=() PHONE=()
SETTINGS_SIZE_MAX=65536 # octets; more is not a settings file

settings_help() {
	cat <<'HELP'
A settings file has lines "name = value"; lines that begin with # are comments. It is looked for, in this order, as
ringgate.settings on a USB stick named RINGGATE, as ringgate.settings on the first (EFI) partition of the disk, as parameters
ringgate.NAME=VALUE of the kernel command line, and as credential ringgate.settings of a container or virtual machine.
What was found last is kept; a changed file is used at the next start, one on a stick as soon as it is plugged in.

  overlay = example.org            name of the overlay, or https URL of its configuration server
  user = site1@example.org         account of this site at the enrollment server
  password = ...                   its password; removed from the file once it was taken over
  server-address = 192.0.2.5       connect there instead of looking up the server's name
  users = at-registration          phones get certificates as they register (needs a voucher), or: no (default)
  bootstrap = 192.0.2.11:6084      gateways to ask first, besides those of the overlay's document
  first-node = yes                 this gateway may start the overlay when no other one answers (default no)
  hostname = site1
  interface = enp1s0               where the addresses below belong (default: every Ethernet interface)
  address = 192.0.2.11/24          one or two, or dhcp (default)
  gateway = 192.0.2.1              one or two
  dns = 192.0.2.1                  name servers
  ntp = 192.0.2.1                  time servers (default: those of DHCP, then of Debian)
  sip = on                         or off: this node serves no phones
  sip-mode = redirect              what callers get: redirect (default), proxy or redirect-inside; see ringgate.conf(5)
  sip-digest = MD5                 for phones that fail when they are offered SHA-256, too (default: both)
  phone = alice@example.org ...    password with which the phones of this user register, a line for each user; only a hash of it is
                                   kept, and it is removed from the file. Their user name is alice or alice@example.org.
                                   "none" instead of a password: they may not register any more
  sip-allow = 192.0.2.0/24         networks whose phones may use the gateway (default: private and link-local ones)
  fast-path = auto                 or no: forward in the kernel where that is possible (default auto)
  metrics = 127.0.0.1:9464         address for Prometheus (default off); any but a loopback one is open to the networks of sip-allow
  ssh-key = ssh-ed25519 AAAA...    lets this key in as root over ssh (default: no remote shell at all)
  console-password-hash = $y$...   lets root log in at the console (openssl passwd -6); default: nobody
  log-level = info

A file ringgate-ca.pem beside ringgate.settings holds the roots for the server's HTTPS certificate, if they are not public ones.
HELP
}

# What services would refuse is refused here, where the line can be named: a firewall with one wrong network in it is no firewall.
# Numbers with a zero in front are octal for some of them.
address_good() {
	local each groups=()
	if [[ $1 =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})$ ]]; then
		for each in "${BASH_REMATCH[@]:1}"; do [[ $each = 0 || $each != 0* ]] && [ "$each" -le 255 ] || return 1; done
		return 0
	fi
	[[ $1 =~ ^(::|[0-9a-fA-F])[0-9a-fA-F:]*$ && $1 = *:* && $1 != *:::* && $1 != *::*::* && $1 != *[!:]: ]] || return 1
	IFS=: read -ra groups <<<"${1/::/:}"
	for each in "${groups[@]}"; do [ ${#each} -le 4 ] || return 1; done
	[[ $1 = :: ]] || [ -n "${groups[0]}" ] || groups=("${groups[@]:1}")
	if [[ $1 = *::* ]]; then [ ${#groups[@]} -le 7 ]; else [ ${#groups[@]} -eq 8 ]; fi
}
network_good() { # an address and the length of its prefix
	local length=${1##*/} most=32
	[[ $1 = */* && $length =~ ^(0|[1-9][0-9]{0,2})$ ]] && address_good "${1%/*}" || return 1
	[[ $1 != *:* ]] || most=128
	[ "$length" -le $most ]
}
endpoint_good() { # an address, with or without a port; one of IPv6 with a port has brackets
	local port=''
	if [[ $1 =~ ^\[([0-9a-fA-F:]+)\](:([0-9]{1,5}))?$ ]]; then
		port=${BASH_REMATCH[3]}
		address_good "${BASH_REMATCH[1]}" || return 1
	elif [[ $1 =~ ^([0-9.]+):([0-9]{1,5})$ ]]; then
		port=${BASH_REMATCH[2]}
		address_good "${BASH_REMATCH[1]}" || return 1
	else
		address_good "$1" || return 1
	fi
	[ -z "$port" ] || { [[ $port != 0* ]] && [ "$port" -le 65535 ]; }
}

# settings_value_bad NAME VALUE: `bad` becomes what is wrong, or nothing. Without another process for each line: they cost a boot seconds
# on slow machines.
settings_value_bad() {
	local name=$1 value=$2 each host='[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?'
	bad=
	case $value in *[![:print:]]*) bad="has characters that cannot be printed"; return ;; esac
	case $name in
	overlay) [[ $value =~ ^(https://[A-Za-z0-9._:/-]+|$host(\.$host)*)$ ]] || bad="is neither a name nor an https URL" ;;
	user) [[ $value =~ ^[A-Za-z0-9._+=\&~\$*!-]+@[A-Za-z0-9.-]+$ ]] || bad="is no account such as site1@example.org" ;;
	password) [ ${#value} -ge 8 ] && [ ${#value} -le 256 ] || bad="has to have 8 to 256 characters" ;;
	users) [[ $value =~ ^(at-registration|no)$ ]] || bad="has to be at-registration or no" ;;
	first-node) [[ $value =~ ^(yes|no)$ ]] || bad="has to be yes or no" ;;
	sip) [[ $value =~ ^(on|off)$ ]] || bad="has to be on or off" ;;
	sip-mode) [[ $value =~ ^(redirect|proxy|redirect-inside)$ ]] || bad="has to be redirect, proxy or redirect-inside" ;;
	sip-digest) [[ $value =~ ^(MD5|SHA-256|SHA-256\ MD5)$ ]] || bad="has to be MD5, SHA-256 or both" ;;
	phone)
		[[ $value =~ ^[A-Za-z0-9._+=\&~\$*!-]{1,64}@[A-Za-z0-9.-]{1,190}[[:space:]]+([^[:space:]].*)$ ]] ||
			{ bad="has to be a user and a password, such as alice@example.org oak-river-73"; return; }
		each=${BASH_REMATCH[1]}
		[ "$each" = none ] || { [ ${#each} -ge 8 ] && [ ${#each} -le 256 ]; } || bad="needs a password of 8 to 256 characters"
		;;
	fast-path) [[ $value =~ ^(auto|no)$ ]] || bad="has to be auto or no" ;;
	log-level) [[ $value =~ ^(error|warning|notice|info|debug)$ ]] || bad="has to be error, warning, notice, info or debug" ;;
	hostname) [[ $value =~ ^$host(\.$host)*$ && ${#value} -le 64 ]] || bad="is no host name" ;;
	interface) [[ $value =~ ^[A-Za-z0-9._-]{1,15}$ ]] || bad="is no name of an interface" ;;
	address)
		[ "$value" = dhcp ] && return
		for each in $value; do network_good "$each" || bad="has to be dhcp, or addresses such as 192.0.2.11/24"; done
		;;
	gateway) for each in $value; do address_good "$each" || bad="has to be addresses such as 192.0.2.1"; done ;;
	dns | server-address) for each in $value; do endpoint_good "$each" || bad="has to be addresses such as 192.0.2.1"; done ;;
	ntp) for each in $value; do address_good "$each" || [[ $each =~ ^$host(\.$host)*$ && ! $each =~ ^[0-9.]+$ ]] || bad="has to be addresses or names"; done ;;
	bootstrap | metrics)
		[ "$name $value" = "metrics off" ] && return
		for each in $value; do [[ $each = *.* || $each = \[* ]] && endpoint_good "$each" || bad="has to be addresses such as 192.0.2.11:6084"; done
		;;
	sip-allow) for each in $value; do network_good "$each" || bad="has to be networks such as 192.0.2.0/24"; done ;;
	ssh-key) [[ $value =~ ^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]+|sk-[a-z0-9@.-]+)\ [A-Za-z0-9+/=]+(\ .*)?$ ]] || bad="is no public key of ssh" ;;
	console-password-hash) [[ $value =~ ^\$[a-z0-9]+\$[^:[:space:]]+$ ]] || bad="is no password hash of crypt(5)" ;;
	*) bad="is not among the settings" ;;
	esac
}

settings_read() {
	local file=$1 line number=0 name value bad lines=()
	local -A found=() phones=()
	[ -f "$file" ] && [ -r "$file" ] || { complain "$file cannot be read."; return 1; }
	[ "$(stat -c %s "$file")" -le $SETTINGS_SIZE_MAX ] || { complain "$file is too large for settings."; return 1; }
	mapfile -t lines < <(tr -d '\000' <"$file")
	for line in "${lines[@]}"; do
		number=$((number + 1))
		line=${line%$'\r'}
		[ $number -gt 1 ] || line=${line#$'\xef\xbb\xbf'} # as some editors begin a file
		[[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
		[[ $line =~ ^[[:space:]]*([a-z-]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*$ ]] || {
			complain "$file, line $number: a line is like: name = value"
			return 1
		}
		name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
		settings_value_bad "$name" "$value"
		[ -z "$bad" ] || { complain "$file, line $number: $name $bad; see: ringgate-appliance help settings"; return 1; }
		if [ "$name" = phone ]; then
			name=${value%%[[:space:]]*}
			[ -z "${phones[$name]:-}" ] || { complain "$file, line $number: $name has a password already."; return 1; }
			phones[$name]=${value##"$name"*([[:space:]])}
			continue
		fi
		[ -z "${found[$name]:-}" ] || { complain "$file, line $number: $name stands there twice."; return 1; }
		found[$name]=$value
	done
	if [ -n "${found[user]:-}" ] && [ -z "${found[overlay]:-}" ]; then
		complain "$file: with user also overlay is needed: which overlay this site belongs to."
		return 1
	fi
	SETTING=() PHONE=()
	for name in "${!found[@]}"; do SETTING[$name]=${found[$name]}; done
	for name in "${!phones[@]}"; do PHONE[$name]=${phones[$name]}; done
}

# settings_write: SETTING as a file on standard output, without passwords.
settings_write() {
	local name
	for name in $(printf '%s\n' "${!SETTING[@]}" | sort); do
		[ "$name" = password ] || printf '%s = %s\n' "$name" "${SETTING[$name]}"
	done
}

settings_show() {
	[ -s "$STATE/settings" ] || { complain "There are no settings yet; see: ringgate-appliance help settings"; return 1; }
	cat "$STATE/settings"
	[ ! -s "$STATE/password" ] || echo "# a password is there"
	[ ! -s "$NODE/sip-passwords" ] || echo "# the phones of $(grep -c @ "$NODE/sip-passwords") users have passwords"
}
