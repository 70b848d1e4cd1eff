//! The random numbers against published answers and against the normal distribution function.

use tdl_ir::random::*;

#[test]
fn philox_gives_the_known_answers_of_random123() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox([!0; 4], [!0; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    assert_eq!(
        philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

#[test]
fn uniforms_stay_below_one() {
    assert_eq!(uniform_f32(0), 0.0);
    assert!(uniform_f32(u32::MAX) < 1.0);
    assert!(uniform_f64(u64::MAX) < 1.0);
}

/// Distribution function of the normal by `erf`; the tails by its asymptotic series are not needed below 5 sigma.
fn cdf(z: f64) -> f64 {
    0.5 * (1.0 + tdl_ir::UnaryOp::Erf.def().eval_f64(z / std::f64::consts::SQRT_2))
}

#[test]
fn normals_invert_the_distribution_function() {
    for k in 0..10_000_u32 {
        let word = k.wrapping_mul(429_497);
        let p = (f64::from(word as i32) + 0.5) / 4_294_967_296.0 + 0.5;
        let z = normal_f32(word);
        assert!((cdf(f64::from(z)) - p).abs() < 2e-7, "word {word}: {z}");
        let z = normal_f64(u64::from(word) << 32);
        let p = f64::from(word as i32) / 4_294_967_296.0 + 0.5;
        assert!((cdf(z) - p).abs() < 1e-14, "word {word}: {z}");
    }
    assert!((normal_f64(i64::MAX as u64) - 9.155_293_772_686_07).abs() < 1e-13);
    let extreme = normal_f32(i32::MAX as u32);
    assert!((extreme - 6.338).abs() < 3e-3, "{extreme}");
    assert_eq!(normal_f32(0), -normal_f32(u32::MAX));
}

#[test]
fn samples_have_the_right_moments() {
    let n = 100_000;
    let z: Vec<f64> = (0..n).map(|j| f64::from(normal_f32(word32(42, j)))).collect();
    let mean = z.iter().sum::<f64>() / n as f64;
    let var = z.iter().map(|x| x * x).sum::<f64>() / n as f64;
    assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.015, "{mean} {var}");
}

#[test]
fn neighbouring_indices_share_a_block_and_widths_do_not() {
    let b = philox([3, 0, 0, 0], [7, 0]);
    assert_eq!((12..16).map(|j| word32(7, j)).collect::<Vec<_>>(), b);
    assert_ne!(word64(7, 0) as u32, word32(7, 0));
}
