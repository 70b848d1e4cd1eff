use super::*;
use crate::interp::{Interp, PlainHost};
use crate::{parse, print, verify};

const SEEDS: u64 = 300;

fn run(module: &Module, args: &[Value]) -> Vec<Value> {
    let entry = module.entry.expect("there is a main");
    match Interp::new(module).run(entry, args.to_vec(), &mut PlainHost::default()) {
        Ok(out) => out,
        Err(e) => panic!("{e}\n{}", print(module)),
    }
}

#[test]
fn random_programs_verify_and_stay_bounded() {
    for seed in 0..SEEDS {
        for kind in [Kind::Any, Kind::Smooth] {
            let (module, args) = random_module_of(kind, seed, 25);
            if let Err(e) = verify(&module) {
                panic!("seed {seed}: {}\n{}", e.message, print(&module));
            }
            for out in run(&module, &args) {
                let t = out.tensor().expect("a tensor");
                let ok = !t.dtype.is_float() || t.floats().iter().all(|x| x.abs() < 1e3);
                assert!(ok, "seed {seed}: {out:?}\n{}", print(&module));
            }
        }
    }
}

#[test]
fn text_parses_back_to_a_program_that_computes_the_same() {
    for seed in 0..SEEDS {
        let (module, args) = random_module(seed, 25);
        let text = print(&module);
        let again = match parse(&text) {
            Ok(m) => m,
            Err(e) => panic!("seed {seed}: {e}\n{text}"),
        };
        assert_eq!(print(&again), text, "seed {seed}");
        if let Err(e) = verify(&again) {
            panic!("seed {seed}: {}\n{text}", e.message);
        }
        if seed < 50 {
            assert_eq!(run(&again, &args), run(&module, &args), "seed {seed}");
        }
    }
}

#[test]
fn equal_seeds_give_equal_programs() {
    assert_eq!(print(&random_module(7, 30).0), print(&random_module(7, 30).0));
    assert_ne!(print(&random_module(7, 30).0), print(&random_module(8, 30).0));
}

#[test]
fn damaged_text_is_refused_or_verified_but_never_panics() {
    let mut rng = Rng(1);
    let (mut parsed, mut verified) = (0, 0);
    for seed in 0..60 {
        let text = print(&random_module(seed, 12).0);
        let tokens: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
        for _ in 0..40 {
            let mut damaged = tokens.clone();
            for _ in 0..1 + rng.below(3) {
                let (i, j) = (rng.below(damaged.len()), rng.below(damaged.len()));
                match rng.below(3) {
                    0 => damaged.swap(i, j),
                    1 => damaged[i] = damaged[j],
                    _ => {
                        damaged.remove(i);
                    }
                }
            }
            if let Ok(module) = parse(&damaged.concat()) {
                parsed += 1;
                verified += usize::from(verify(&module).is_ok());
                assert!(!print(&module).is_empty());
            }
        }
    }
    assert!(parsed > 100 && verified > 0, "{parsed} parsed, {verified} verified");
}
