//! The program `rootcellar`, which is also the LXC template `lxc-download`.

fn main() -> std::process::ExitCode {
    rootcellar::main()
}
