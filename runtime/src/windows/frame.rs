//! An image, or whatever has up to three axes of places and channels last, with zeros around it.

/// Which places are read, and how they lie in memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Places of the image.
    extent: [usize; 3],
    /// Zeros in front of it.
    lo: [usize; 3],
    /// Places with the zeros.
    size: [usize; 3],
    /// Elements of a place; more than the image has are zero.
    channels: usize,
}

impl Frame {
    /// For an image of which places `first..=last` are read along each axis, some of them outside.
    pub fn new(extent: [usize; 3], first: [i64; 3], last: [i64; 3], channels: usize) -> Frame {
        let (mut lo, mut size) = ([0; 3], [0; 3]);
        for k in 0..3 {
            lo[k] = (-first[k]).max(0) as usize;
            size[k] = lo[k] + extent[k].max((last[k] + 1).max(0) as usize);
        }
        Frame { extent, lo, size, channels }
    }

    pub fn strides(&self) -> [usize; 3] {
        let row = self.size[2] * self.channels;
        [self.size[1] * row, row, self.channels]
    }

    pub fn len(&self) -> usize {
        self.size.iter().product::<usize>() * self.channels
    }

    /// Where a place begins.
    pub fn at(&self, place: [i64; 3]) -> usize {
        let strides = self.strides();
        (0..3).map(|k| (place[k] + self.lo[k] as i64) as usize * strides[k]).sum()
    }

    /// True if an image with this many elements from place to place is its own frame.
    pub fn is_bare(&self, channels: usize, pixel: usize) -> bool {
        self.lo == [0; 3] && self.size == self.extent && channels == self.channels && pixel == channels
    }

    /// Copies an image with `channels` elements at each place, `pixel` apart, into the frame.
    #[inline(always)]
    pub unsafe fn fill<T: Copy>(&self, to: *mut T, from: *const T, channels: usize, pixel: usize, zero: T) {
        let row = self.size[2] * self.channels;
        for i in 0..self.size[0] {
            for j in 0..self.size[1] {
                // SAFETY: `to` has room for the frame, `from` is the image
                unsafe {
                    let to = std::slice::from_raw_parts_mut(to.add((i * self.size[1] + j) * row), row);
                    let (y, x) = (i.wrapping_sub(self.lo[0]), j.wrapping_sub(self.lo[1]));
                    if y >= self.extent[0] || x >= self.extent[1] {
                        to.fill(zero);
                        continue;
                    }
                    let from = from.add((y * self.extent[1] + x) * self.extent[2] * pixel);
                    let (front, rest) = to.split_at_mut(self.lo[2] * self.channels);
                    let (inside, back) = rest.split_at_mut(self.extent[2] * self.channels);
                    front.fill(zero);
                    back.fill(zero);
                    if channels == self.channels && pixel == channels {
                        inside.copy_from_slice(std::slice::from_raw_parts(from, self.extent[2] * channels));
                        continue;
                    }
                    for (k, to) in inside.chunks_exact_mut(self.channels).enumerate() {
                        let (own, more) = to.split_at_mut(channels);
                        own.copy_from_slice(std::slice::from_raw_parts(from.add(k * pixel), channels));
                        more.fill(zero);
                    }
                }
            }
        }
    }
}
