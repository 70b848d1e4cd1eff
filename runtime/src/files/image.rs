//! Images, through the crate `image`: `u8` as they are, floats from 0 to 1. Rows first, then columns, then channels.

use std::io::Cursor;

use image::{DynamicImage, ExtendedColorType, ImageError, ImageFormat, ImageReader};

use super::{Array, Want, check, open};
use crate::abi::Dtype;
use crate::fmt::type_name;

/// The formats that are written, by the ends of their files' names.
const FORMATS: &[(&str, ImageFormat)] = &[
    ("png", ImageFormat::Png),
    ("jpg", ImageFormat::Jpeg),
    ("jpeg", ImageFormat::Jpeg),
    ("bmp", ImageFormat::Bmp),
    ("ppm", ImageFormat::Pnm),
    ("pgm", ImageFormat::Pnm),
];

/// An image. Without a third axis it is gray; with one of 1, 2, 3 or 4 it is gray, gray with alpha, RGB or RGB with alpha, whatever the
/// file has; where the file decides on the third axis, it has as many channels as the file.
pub fn read_image(path: &str, want: &Want) -> Result<Array, String> {
    let file = open(path)?;
    let damaged = |e: &dyn std::fmt::Display| format!("`{path}` is no image, or a damaged one: {e}");
    if file.is_empty() {
        return Err(damaged(&"it is empty"));
    }
    let mut reader = ImageReader::new(Cursor::new(&*file)).with_guessed_format().map_err(|e| damaged(&e))?;
    if reader.format().is_none() {
        return Err(damaged(&"it is none of PNG, JPEG, BMP and PNM"));
    }
    // a header may claim any size
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(4 << 30);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| match e {
        ImageError::Limits(e) => format!("cannot read `{path}`: {e}"),
        e => damaged(&e),
    })?;
    let own = usize::from(image.color().channel_count());
    let channels = match want.dims.get(2) {
        None => 1,
        Some(Some(c @ 1..=4)) => *c,
        Some(_) => own,
    };
    let (w, h) = (image.width() as usize, image.height() as usize);
    let shape = if want.dims.len() == 2 { vec![h, w] } else { vec![h, w, channels] };
    // of which dtype an image is read is the program's choice
    let own_shape = if want.dims.len() == 2 { vec![h, w] } else { vec![h, w, own] };
    if !want.dims.iter().zip(&shape).all(|(w, d)| w.is_none_or(|w| w == *d)) || want.dims.len() != shape.len() {
        check(path, "", Dtype::U8, &own_shape, &Want { dtype: Dtype::U8, ..want.clone() })?;
    }
    let bytes = match want.dtype {
        Dtype::U8 => narrow(image, channels),
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => {
            let mut out = Vec::new();
            for x in wide(image, channels) {
                push_float(&mut out, want.dtype, x);
            }
            out
        }
        other => {
            return Err(format!(
                "`{path}` is an image, which is read as u8 or as floats from 0 to 1, not as {}",
                other.name()
            ));
        }
    };
    Ok(Array { dtype: want.dtype, shape, bytes: bytes.into() })
}

fn narrow(image: DynamicImage, channels: usize) -> Vec<u8> {
    match channels {
        1 => image.into_luma8().into_raw(),
        2 => image.into_luma_alpha8().into_raw(),
        3 => image.into_rgb8().into_raw(),
        _ => image.into_rgba8().into_raw(),
    }
}

fn wide(image: DynamicImage, channels: usize) -> Vec<f32> {
    // 8 bits are divided once; 16 bits keep what they have
    let eight = image.color().bytes_per_pixel() == image.color().channel_count();
    if eight {
        return narrow(image, channels).into_iter().map(|x| f32::from(x) / 255.0).collect();
    }
    let image = match channels {
        1 => DynamicImage::from(image.into_luma16()),
        2 => DynamicImage::from(image.into_luma_alpha16()),
        3 => return image.into_rgb32f().into_raw(),
        _ => return image.into_rgba32f().into_raw(),
    };
    let shorts = match image {
        DynamicImage::ImageLuma16(i) => i.into_raw(),
        DynamicImage::ImageLumaA16(i) => i.into_raw(),
        _ => Vec::new(),
    };
    shorts.into_iter().map(|x| f32::from(x) / 65535.0).collect()
}

fn push_float(out: &mut Vec<u8>, dtype: Dtype, x: f32) {
    match dtype {
        Dtype::F16 => out.extend(half::f16::from_f32(x).to_le_bytes()),
        Dtype::Bf16 => out.extend(half::bf16::from_f32(x).to_le_bytes()),
        Dtype::F64 => out.extend(f64::from(x).to_le_bytes()),
        _ => out.extend(x.to_le_bytes()),
    }
}

/// Writes an image `[height, width]` or `[height, width, channels]`; the name's end says the format. Floats are cut to 0..1.
pub fn write_image(path: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<(), String> {
    let cannot = |why: &str| format!("cannot write `{path}`: {why}");
    let end = std::path::Path::new(path).extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let Some((_, format)) = FORMATS.iter().find(|(name, _)| *name == end) else {
        let names: Vec<String> = FORMATS.iter().map(|(name, _)| format!(".{name}")).collect();
        return Err(cannot(&format!("the name of an image ends in {}", names.join(", "))));
    };
    let (h, w, channels) = match *shape {
        [h, w] => (h, w, 1),
        [h, w, c @ 1..=4] => (h, w, c),
        _ => return Err(cannot(&format!("an image is [h, w] or [h, w, 1 to 4], not {}", type_name(dtype, shape)))),
    };
    if h == 0 || w == 0 {
        return Err(cannot(&format!("{} has no pixels", type_name(dtype, shape))));
    }
    let size = |n: usize| u32::try_from(n).map_err(|_| cannot(&format!("an axis of {n} is too long for an image")));
    let (h, w) = (size(h)?, size(w)?);
    let pixels = match dtype {
        Dtype::U8 => bytes.to_vec(),
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => {
            bytes.chunks_exact(dtype.size()).map(|b| level(dtype, b)).collect()
        }
        other => return Err(cannot(&format!("an image is of u8 or of floats from 0 to 1, not of {}", other.name()))),
    };
    let color = match channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut out = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut out, &pixels, w, h, color, *format).map_err(|e| match e {
        ImageError::Unsupported(_) => cannot(&format!(".{end} files have no images of {channels} channels")),
        e => cannot(&e.to_string()),
    })?;
    super::write(path, &[&out.into_inner()])
}

fn level(dtype: Dtype, b: &[u8]) -> u8 {
    let x = match dtype {
        Dtype::F16 => b.try_into().map(half::f16::from_le_bytes).map_or(0.0, f64::from),
        Dtype::Bf16 => b.try_into().map(half::bf16::from_le_bytes).map_or(0.0, f64::from),
        Dtype::F64 => b.try_into().map_or(0.0, f64::from_le_bytes),
        _ => b.try_into().map(f32::from_le_bytes).map_or(0.0, f64::from),
    };
    (x.clamp(0.0, 1.0) * 255.0).round() as u8
}
