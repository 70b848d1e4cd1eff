//! Indices into the tables of a [`crate::thir::Program`] and of a [`crate::thir::Body`].

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A parameter in brackets of any item: [`crate::thir::Program::generics`].
    GenericId;
    /// [`crate::thir::Program::structs`].
    StructId;
    /// [`crate::thir::Program::interfaces`].
    InterfaceId;
    /// Functions and methods: [`crate::thir::Program::fns`].
    FnId;
    /// [`crate::thir::Program::consts`].
    ConstId;
    /// [`crate::thir::Program::modules`].
    ModuleId;
    /// A variable or parameter of one body: [`crate::thir::Body::locals`].
    LocalId;
    /// A size opened from an existential in one body: [`crate::thir::Body::opens`].
    OpenId;
    /// A lambda of one body: [`crate::thir::Body::lambdas`].
    LambdaId;
}
