# Completion of spower and sreservation in bash 4.4 and later: commands, options, zones, jobs and reservations.
# Install as /usr/share/bash-completion/completions/spower, with a link `sreservation` to it; or source it.

_spower() {
    local kind line variable=_${1##*/}
    variable=${variable^^}_COMPLETE
    COMPREPLY=()
    while IFS=, read -r kind line; do
        case $kind in
            plain) COMPREPLY+=("$line") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" "$variable=bash_complete" "$1" 2>/dev/null)
}

complete -o nosort -F _spower spower sreservation
