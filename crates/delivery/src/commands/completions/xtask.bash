# Completes `cargo xtask` in bash, beside the completion that cargo has already.
__xtask_previous=$(complete -p cargo 2>/dev/null | sed -n 's/.*-F \([^ ]*\).*/\1/p')
__xtask_complete() {
    if [ "${COMP_WORDS[1]}" = xtask ] && [ "$COMP_CWORD" -ge 2 ]; then
        local IFS=$'\n'
        COMPREPLY=($(__xtask_ask "${COMP_WORDS[@]:2:COMP_CWORD-1}"))
    elif [ "$COMP_CWORD" -eq 1 ] && [[ xtask = "${COMP_WORDS[1]}"* ]] && [ -n "${COMP_WORDS[1]}" ]; then
        COMPREPLY=(xtask)
    elif [ -n "$__xtask_previous" ] && [ "$__xtask_previous" != __xtask_complete ]; then
        "$__xtask_previous" "$@"
    fi
}
complete -o default -F __xtask_complete cargo
