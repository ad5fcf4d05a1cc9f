//! The program `rootcellar-server`.

fn main() -> std::process::ExitCode {
    rootcellar_server::main()
}
