//! Names that only the program knows, such as those of containers: what a shell does to ask it for them.

use clap::Command;

use super::Shell;

/// The hidden command that a program prints its names with: those that the last of its arguments, the words of a command
/// line, may become.
pub const NAMES_COMMAND: &str = "internal-complete";

/// The script that completes commands and options, made to ask the program first where it can be asked.
pub(super) fn asking(script: String, program: &Command, shell: Shell) -> String {
    if program.find_subcommand(NAMES_COMMAND).is_none() {
        return script;
    }
    let name = program.get_name();
    let fill = |text: &str| text.replace("PROGRAM", name).replace("NAMES_COMMAND", NAMES_COMMAND);
    match shell {
        Shell::Bash | Shell::Fish => script + &fill(if shell == Shell::Bash { BASH } else { FISH }),
        Shell::Zsh => {
            // The function of this name is what zsh loads the file for, so that has to be ours.
            let renamed = script.replacen(&fill("\n_PROGRAM() {"), &fill("\n_PROGRAM_options() {"), 1);
            let end = fill("if [ \"$funcstack[1]\" = \"_PROGRAM\" ]");
            renamed.replacen(&end, &(fill(ZSH) + &end), 1)
        }
    }
}

/// Readline breaks words at `:` and `@`, which are parts of names: the whole word is found in the line, and of each name
/// what readline has not taken for another word is given back.
const BASH: &str = r#"
_PROGRAM_names() {
    local line="${COMP_LINE:0:COMP_POINT}" word words names
    word="${line##*[[:space:]]}"
    if [[ "$word" != -* && "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        read -ra words <<< "${line%"$word"}"
        mapfile -t names < <("$1" NAMES_COMMAND -- "${words[@]:1}" "$word" 2>/dev/null)
        if [[ ${#names[@]} -gt 0 ]]; then
            COMPREPLY=("${names[@]#"${word%"$2"}"}")
            [[ "${names[0]}" == *: ]] && compopt -o nospace 2>/dev/null
            return 0
        fi
    fi
    _PROGRAM "$@"
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _PROGRAM_names -o nosort -o bashdefault -o default PROGRAM
else
    complete -F _PROGRAM_names -o bashdefault -o default PROGRAM
fi
"#;

const ZSH: &str = r#"_PROGRAM() {
    local -a names open
    if [[ "$PREFIX" != -* ]]; then
        names=("${(@f)$("${words[1]}" NAMES_COMMAND -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
        names=(${names:#})
        open=(${(M)names:#*:})
        names=(${names:#*:})
        if (( $#names + $#open )); then
            (( $#open )) && compadd -S '' -a open
            (( $#names )) && compadd -a names
            return 0
        fi
    fi
    _PROGRAM_options "$@"
}

"#;

const FISH: &str = r#"
function __PROGRAM_names
    set -l words (commandline -opc)
    string match -q -- '-*' (commandline -ct); or $words[1] NAMES_COMMAND -- $words[2..] (commandline -ct) 2>/dev/null
end
complete -c PROGRAM -n 'test -n "$(__PROGRAM_names)"' -f -k -a '(__PROGRAM_names)'
"#;
