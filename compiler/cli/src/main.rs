//! The `tdl` command: parses the command line, calls the driver, prints. Exit codes: 0 done, 1 the program is wrong or
//! failed, 2 the command could not be carried out, 101 a bug in the compiler.

#[macro_use]
mod out;

mod args;
mod commands;
mod doc;
mod explain;
mod fmt;
mod new;
mod repl;

use clap::Parser;

fn main() {
    install_panic_message();
    let cli = args::Cli::try_parse().unwrap_or_else(|e| refuse(&e));
    // deep but legal programs need more stack than the main thread has
    let worker = std::thread::Builder::new().stack_size(256 << 20).spawn(move || commands::dispatch(cli.command));
    let code = match worker.map(|w| w.join()) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => 101,
        Err(e) => {
            complainln!("error: cannot start a thread: {e}");
            2
        }
    };
    std::process::exit(code);
}

/// Ends the program with what is wrong with the command line, or with the help that was asked for.
fn refuse(error: &clap::Error) -> ! {
    let json = std::env::args_os().skip(1).take_while(|a| a != "--").any(|a| a == "--json");
    if !json || !error.use_stderr() {
        error.exit()
    }
    let text = error.to_string();
    // as in the driver's messages, the word `error` is in the severity
    complain!("{}", tdl_source::usage_json(text.trim_end().trim_start_matches("error: ")));
    std::process::exit(error.exit_code())
}

/// A panic is a bug of ours: it says so, and what to report.
fn install_panic_message() {
    std::panic::set_hook(Box::new(|info| {
        complainln!("internal error: {info}");
        complainln!("This is a bug in tdl, not in your program. Please report it with the program and this text:");
        complainln!("tdl {} {}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    }));
}
