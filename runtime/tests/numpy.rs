//! Tensors print as NumPy prints them: `numpy.txt` holds arrays of every kind with the text that NumPy 2.4 gives.

use tdl_runtime::abi::Dtype;

#[test]
fn tensors_print_as_in_numpy() {
    let cases = include_str!("numpy.txt").lines().filter(|l| !l.starts_with('#'));
    for case in cases {
        let [dtype, shape, elements, want] = case.split('\t').collect::<Vec<_>>()[..] else { panic!("{case}") };
        let dtype = Dtype::from_name(dtype).expect("a dtype");
        let shape: Vec<usize> = shape.split(',').map(|s| s.parse().expect("an extent")).collect();
        let bytes: Vec<u8> = elements
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
            .collect();
        let printed = tdl_runtime::fmt::tensor(dtype, &shape, &bytes, "");
        let (text, ty) = printed.rsplit_once(" : ").expect("a type");
        assert_eq!(text, want.replace("\\n", "\n"));
        assert_eq!(ty, tdl_runtime::fmt::type_name(dtype, &shape));
    }
}
