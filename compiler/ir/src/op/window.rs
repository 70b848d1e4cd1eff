//! The labels of products with windows, and what is said about them wherever such a product is read.

/// The labels of a window: the axis that it moves over, where it is, and the element in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub whole: u8,
    pub place: u8,
    pub tap: u8,
}

impl Window {
    pub fn labels(self) -> [u8; 3] {
        [self.whole, self.place, self.tap]
    }

    /// Which of the tensors with these labels has the wholes, which the places, which the taps: each stands in one tensor, the same
    /// for all windows, and the three are different ones. `None` if it is not so.
    pub fn roles(windows: &[Window], tensors: [&[u8]; 3]) -> Option<[usize; 3]> {
        let mut roles = None;
        for w in windows {
            let mut own = [0; 3];
            for (role, label) in own.iter_mut().zip(w.labels()) {
                let mut at = (0..3).filter(|k| tensors[*k].contains(&label));
                *role = at.next()?;
                if at.next().is_some() {
                    return None;
                }
            }
            if own[0] == own[1] || own[0] == own[2] || own[1] == own[2] || roles.is_some_and(|r| r != own) {
                return None;
            }
            roles = Some(own);
        }
        roles
    }

    /// The labels of the three tensors in the order that kernels want, those that they see as one axis together: images `[n,
    /// wholes…, g, c]` and `[n, places…, g, o]`, filters `[g, taps…, c, o]`. `None` if the windows have no roles.
    pub fn orders(windows: &[Window], tensors: [&[u8]; 3]) -> Option<[Vec<Vec<u8>>; 3]> {
        let [wholes, places, taps] = Window::roles(windows, tensors)?;
        let (x, y, w) = (tensors[wholes], tensors[places], tensors[taps]);
        let plain = |list: &[u8], keep: &dyn Fn(&u8) -> bool| -> Vec<u8> {
            list.iter().copied().filter(|l| !Window::any(windows, *l) && keep(l)).collect()
        };
        let n = plain(x, &|l| y.contains(l) && !w.contains(l));
        let g = plain(x, &|l| y.contains(l) && w.contains(l));
        let c = plain(x, &|l| w.contains(l) && !y.contains(l));
        let o = plain(y, &|l| w.contains(l) && !x.contains(l));
        let own = |k: usize| windows.iter().map(move |w| vec![w.labels()[k]]);
        let mut orders = [const { Vec::new() }; 3];
        orders[wholes] = [n.clone()].into_iter().chain(own(0)).chain([g.clone(), c.clone()]).collect();
        orders[places] = [n].into_iter().chain(own(1)).chain([g.clone(), o.clone()]).collect();
        orders[taps] = [g].into_iter().chain(own(2)).chain([c, o]).collect();
        Some(orders)
    }

    /// Is the label one of a window's?
    pub fn any(windows: &[Window], label: u8) -> bool {
        windows.iter().any(|w| w.labels().contains(&label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tensor_has_one_part_of_every_window() {
        let windows = [Window { whole: b'h', place: b'y', tap: b'k' }, Window { whole: b'w', place: b'x', tap: b'l' }];
        assert_eq!(Window::roles(&windows, [b"nchw", b"ockl", b"noyx"]), Some([0, 2, 1]));
        assert_eq!(Window::roles(&windows, [b"noyx", b"ockl", b"nchw"]), Some([2, 0, 1]));
        assert_eq!(Window::roles(&windows, [b"nchw", b"ockx", b"noyl"]), None);
        assert_eq!(Window::roles(&windows, [b"nchw", b"okly", b"noyx"]), None);
        assert_eq!(Window::roles(&windows, [b"nhwkl", b"o", b"noyx"]), None);
        assert_eq!(Window::roles(&[], [b"a", b"b", b"ab"]), None);
    }
}
