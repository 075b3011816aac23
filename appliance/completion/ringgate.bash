# SPDX-License-Identifier: BSD-2-Clause
# bash completion for ringgated, ringgatectl, ringgate-sim and ringgate-enrolld. The words are those of --help, so that they are never old.

# Commands of two words are lines such as "overlay create"; alternatives are "disable|enable".
_ringgate_commands() {
	"$1" --help 2>/dev/null | sed -nE 's/^  ([a-z][a-z|-]*( [a-z][a-z|-]*)*).*/\1/p'
}

_ringgate() {
	local program=$1 word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} index first='' words=''
	COMPREPLY=()
	case $before in
	--*-file | --document | --output | --directory | --config | --socket | -s | -c)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	esac
	if [[ $word == -* ]]; then
		words=$("$program" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)
	else
		for ((index = 1; index < COMP_CWORD; index++)); do
			case ${COMP_WORDS[index]} in
			-s | --socket) index=$((index + 1)) ;;
			-*) ;;
			*)
				[ -z "$first" ] || first=done
				[ -n "$first" ] || first=${COMP_WORDS[index]}
				;;
			esac
		done
		if [ -z "$first" ]; then
			words=$(_ringgate_commands "$program" | cut -d' ' -f1 | tr '|' '\n' | sort -u)
		else
			words=$(_ringgate_commands "$program" | sed -n "s/^$first //p" | cut -d' ' -f1 | tr '|' '\n' | sort -u)
		fi
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
	if [ ${#COMPREPLY[@]} -eq 0 ] && [ -n "$first" ]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}
complete -F _ringgate ringgated ringgatectl ringgate-sim ringgate-enrolld
