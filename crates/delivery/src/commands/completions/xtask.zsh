# Completes `cargo xtask` in zsh, beside the completion that cargo has already.
autoload -Uz compinit && (( $+functions[compdef] )) || compinit
__xtask_previous=${_comps[cargo]:-_default}
__xtask_complete() {
    if [[ ${words[2]} == xtask && CURRENT -ge 3 ]]; then
        local -a found
        found=("${(@f)$(__xtask_ask "${(@)words[3,CURRENT]}")}")
        compadd -a found
    else
        "$__xtask_previous" "$@"
    fi
}
compdef __xtask_complete cargo
