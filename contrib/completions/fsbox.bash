# Bash completion for fsbox. The region between the marks comes from the options' tables: make docs.
# shellcheck shell=bash

# gencli: begin bash
_fsbox_commands='run snapshot check help serve deploy invoke scale undeploy functions ps inspect logs events stats top pause resume kill rm exec'

_fsbox_options() { # COMMAND
	case $1 in
	run) echo --help --mem -m --timeout -t --env -e --layer --tmp --tmp-dir --rootfs --runtime --handler --name --net --policy --pids --cgroup-parent --no-init-boost --secret --keep-seeds --no-limits --event --env-file --json --log-format --snapshot --spec --trace ;;
	snapshot) echo --help --json --max-age --max-size --mem -m --timeout -t --env -e --layer --tmp --tmp-dir --rootfs --runtime --handler --name --net --policy --pids --cgroup-parent --no-init-boost --secret --keep-seeds --no-limits ;;
	check) echo --help --json ;;
	help) echo --help ;;
	serve) echo --help --socket --user --group --state --policy-file --keep --max-cells --memory --max-queued --cpu-overcommit --no-freeze --no-limits --cgroup-parent ;;
	deploy) echo --help --json --socket --provisioned --reserved --max-cells --replace --snapshot --env-file --spec --mem -m --timeout -t --env -e --layer --tmp --tmp-dir --rootfs --runtime --handler --name --net --policy --pids --cgroup-parent --no-init-boost --secret --keep-seeds --no-limits ;;
	invoke) echo --help --json --socket --event --invocation --deadline --logs --stream --trace-id ;;
	scale) echo --help --json --socket --provisioned --reserved --max-cells ;;
	undeploy) echo --help --json --socket ;;
	functions) echo --help --json --socket ;;
	ps) echo --help --json --socket ;;
	inspect) echo --help --json --socket ;;
	logs) echo --help --json --socket --follow -f --since ;;
	events) echo --help --json --socket --since ;;
	stats) echo --help --json --socket ;;
	top) echo --help --json --socket --interval -d ;;
	pause) echo --help --json --socket ;;
	resume) echo --help --json --socket ;;
	kill) echo --help --json --socket ;;
	rm) echo --help --json --socket ;;
	exec) echo --help --json --socket --cwd --env --no-stdin --tty -t ;;
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
	"serve --socket") echo file ;;
	"serve --user") echo word ;;
	"serve --group") echo word ;;
	"serve --state") echo dir ;;
	"serve --policy-file") echo file ;;
	"serve --keep") echo word ;;
	"serve --max-cells") echo word ;;
	"serve --memory") echo word ;;
	"serve --max-queued") echo word ;;
	"serve --cpu-overcommit") echo word ;;
	"serve --cgroup-parent") echo word ;;
	"deploy --socket") echo file ;;
	"deploy --provisioned") echo word ;;
	"deploy --reserved") echo word ;;
	"deploy --max-cells") echo word ;;
	"deploy --snapshot") echo word unseeded ;;
	"deploy --env-file") echo file ;;
	"deploy --spec") echo file ;;
	"deploy --mem" | "deploy -m") echo word ;;
	"deploy --timeout" | "deploy -t") echo word ;;
	"deploy --env" | "deploy -e") echo word ;;
	"deploy --layer") echo word ;;
	"deploy --tmp") echo word ;;
	"deploy --tmp-dir") echo dir ;;
	"deploy --rootfs") echo dir ;;
	"deploy --runtime") echo word ;;
	"deploy --handler") echo word ;;
	"deploy --name") echo word ;;
	"deploy --net") echo word none loopback host ;;
	"deploy --policy") echo file default none strict custom node python ;;
	"deploy --pids") echo word ;;
	"deploy --cgroup-parent") echo word ;;
	"deploy --secret") echo event ;;
	"invoke --socket") echo file ;;
	"invoke --event") echo event ;;
	"invoke --invocation") echo word ;;
	"invoke --deadline") echo word ;;
	"invoke --trace-id") echo word ;;
	"scale --socket") echo file ;;
	"scale --provisioned") echo word ;;
	"scale --reserved") echo word ;;
	"scale --max-cells") echo word ;;
	"undeploy --socket") echo file ;;
	"functions --socket") echo file ;;
	"ps --socket") echo file ;;
	"inspect --socket") echo file ;;
	"logs --socket") echo file ;;
	"logs --since") echo word ;;
	"events --socket") echo file ;;
	"events --since") echo word ;;
	"stats --socket") echo file ;;
	"top --socket") echo file ;;
	"top --interval" | "top -d") echo word ;;
	"pause --socket") echo file ;;
	"resume --socket") echo file ;;
	"kill --socket") echo file ;;
	"rm --socket") echo file ;;
	"exec --socket") echo file ;;
	"exec --cwd") echo dir ;;
	"exec --env") echo word ;;
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
		run | deploy) mapfile -t COMPREPLY < <(compgen -f -X '!*.so' -- "$cur"; compgen -d -- "$cur") ;;
		esac
		;;
	esac
}
complete -o filenames -F _fsbox fsbox
