# Bash completion for fsbox. The region between the marks comes from the options' tables: make docs.
# shellcheck shell=bash

# gencli: begin bash
_fsbox_commands='run snapshot check help'

_fsbox_options() { # COMMAND
	case $1 in
	run) echo --help --mem -m --timeout -t --env -e --layer --tmp --tmp-dir --rootfs --runtime --handler --name --net --policy --pids --cgroup-parent --no-init-boost --secret --keep-seeds --no-limits --event --env-file --json --log-format --snapshot --spec --trace ;;
	snapshot) echo --help --json --max-age --max-size --mem -m --timeout -t --env -e --layer --tmp --tmp-dir --rootfs --runtime --handler --name --net --policy --pids --cgroup-parent --no-init-boost --secret --keep-seeds --no-limits ;;
	check) echo --help --json ;;
	help) echo --help ;;
	esac
}

_fsbox_value() { # COMMAND OPTION: the kind of its value, then fixed words
	case "$1 $2" in
	"run --mem" | "run -m") echo word ;;
	"run --timeout" | "run -t") echo word ;;
	"run --env" | "run -e") echo word ;;
	"run --layer") echo word ;;
	"run --tmp") echo word ;;
	"run --tmp-dir") echo dir ;;
	"run --rootfs") echo dir ;;
	"run --runtime") echo word ;;
	"run --handler") echo word ;;
	"run --name") echo word ;;
	"run --net") echo word none loopback host ;;
	"run --policy") echo file default none strict custom node python ;;
	"run --pids") echo word ;;
	"run --cgroup-parent") echo word ;;
	"run --secret") echo event ;;
	"run --event") echo event ;;
	"run --env-file") echo file ;;
	"run --log-format") echo word text json ;;
	"run --snapshot") echo word ;;
	"run --spec") echo file ;;
	"run --trace") echo file ;;
	"snapshot --max-age") echo word ;;
	"snapshot --max-size") echo word ;;
	"snapshot --mem" | "snapshot -m") echo word ;;
	"snapshot --timeout" | "snapshot -t") echo word ;;
	"snapshot --env" | "snapshot -e") echo word ;;
	"snapshot --layer") echo word ;;
	"snapshot --tmp") echo word ;;
	"snapshot --tmp-dir") echo dir ;;
	"snapshot --rootfs") echo dir ;;
	"snapshot --runtime") echo word ;;
	"snapshot --handler") echo word ;;
	"snapshot --name") echo word ;;
	"snapshot --net") echo word none loopback host ;;
	"snapshot --policy") echo file default none strict custom node python ;;
	"snapshot --pids") echo word ;;
	"snapshot --cgroup-parent") echo word ;;
	"snapshot --secret") echo event ;;
	esac
}
# gencli: end

_fsbox() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-} kind words
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$_fsbox_commands --help --version" -- "$cur")
		return
	fi
	# Readline breaks words at '=': --net=h is three of them.
	if [ "$cur" = = ]; then
		cur=
	elif [ "$prev" = = ] && [ "$COMP_CWORD" -ge 4 ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	read -r kind words <<<"$(_fsbox_value "$command" "$prev")"
	case $kind:$cur in
	word:*) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
	file:*) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; compgen -f -- "$cur") ;;
	dir:*) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	event:@*) mapfile -t COMPREPLY < <(compgen -P @ -f -- "${cur#@}") ;;
	event:*) ;;
	*:-*) mapfile -t COMPREPLY < <(compgen -W "$(_fsbox_options "$command")" -- "$cur") ;;
	*)
		case $command in
		help) mapfile -t COMPREPLY < <(compgen -W "$_fsbox_commands" -- "$cur") ;;
		run) mapfile -t COMPREPLY < <(compgen -f -X '!*.so' -- "$cur"; compgen -d -- "$cur") ;;
		esac
		;;
	esac
}
complete -o filenames -F _fsbox fsbox
