//! Prints the loop IR of tensor IR files: `cargo run -p tdl-loops --example loops FILE…`.

fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let module = tdl_ir::parse(&text).unwrap_or_else(|e| panic!("{path}: {e:?}"));
        tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{path}: {e}"));
        let start = std::time::Instant::now();
        let program = tdl_loops::lower(&module, &tdl_loops::Options::default()).expect("no derivatives");
        let took = start.elapsed();
        println!("{}", tdl_loops::print(&program));
        tdl_loops::verify(&program).unwrap_or_else(|e| panic!("{path}: {e}"));
        eprintln!("{path}: {} kernels in {took:?}", program.kernels.len());
    }
}
