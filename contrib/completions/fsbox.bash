# Bash completion for fsbox. What there is comes from `fsbox help`, so it is never behind the program.
# shellcheck shell=bash

_fsbox() {
	local program=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		words=$("$program" --help 2>/dev/null | sed -n 's/^  fsbox \([a-z][a-z-]*\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$cur")
		return
	fi
	case $prev in
	--net) words="loopback none host" ;;
	--log-format) words="text json" ;;
	--policy) words="default strict none" ;;
	--layer | --rootfs | --tmp-dir)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	*)
		case $cur in
		-*) words=$("$program" help "${COMP_WORDS[1]}" 2>/dev/null |
			sed -n 's/^  \(-., \|    \)\(--[a-z][a-z-]*\).*/\2/p') ;;
		@*) # --event @FILE
			mapfile -t COMPREPLY < <(compgen -P @ -f -- "${cur#@}")
			return
			;;
		*) words= ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[ "${#COMPREPLY[@]}" -gt 0 ] || [ "$prev" = --net ] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
complete -o filenames -F _fsbox fsbox
