//! `#[boxed]`: the `async fn`s of a trait, or of an `impl` of it, return boxed futures, so that it can be
//! `dyn`.
//!
//! As the crate async-trait has it, but all borrowed arguments live equally long, and no `where` says so: the
//! compiler proves that a future is `Send` anew under every set of such clauses, and each proof goes down to
//! the sockets of the database (ADR 18).

use proc_macro2::{Span, TokenStream as Tokens};
use quote::quote;
use syn::visit_mut::VisitMut;
use syn::{
    Error, FnArg, ImplItem, Item, Lifetime, Result, ReturnType, Signature, TraitItem, TypeReference,
    parse_quote,
};

pub fn expand(item: Item) -> Result<Tokens> {
    match item {
        Item::Trait(mut item) => {
            for inner in &mut item.items {
                if let TraitItem::Fn(function) = inner
                    && take_async(&mut function.sig)
                {
                    box_future(&mut function.sig);
                    if let Some(body) = &mut function.default {
                        *body = parse_quote!({ ::std::boxed::Box::pin(async move #body) });
                    }
                }
            }
            Ok(quote!(#item))
        }
        Item::Impl(mut item) => {
            for inner in &mut item.items {
                if let ImplItem::Fn(function) = inner
                    && take_async(&mut function.sig)
                {
                    box_future(&mut function.sig);
                    let body = &function.block;
                    function.block = parse_quote!({ ::std::boxed::Box::pin(async move #body) });
                }
            }
            Ok(quote!(#item))
        }
        other => Err(Error::new_spanned(other, "traits and impls of traits have boxed functions")),
    }
}

/// Whether the function was `async`.
fn take_async(signature: &mut Signature) -> bool {
    signature.asyncness.take().is_some()
}

fn box_future(signature: &mut Signature) {
    let all = Lifetime::new("'boxed", Span::call_site());
    let mut borrowed = Borrowed(&all);
    for input in &mut signature.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                if let Some((_, lifetime @ None)) = &mut receiver.reference {
                    *lifetime = Some(all.clone());
                }
                borrowed.visit_type_mut(&mut receiver.ty);
            }
            FnArg::Typed(typed) => borrowed.visit_type_mut(&mut typed.ty),
        }
    }
    let output = match &mut signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => {
            borrowed.visit_type_mut(output);
            quote!(#output)
        }
    };
    signature.output = parse_quote! {
        -> ::std::pin::Pin<::std::boxed::Box<
            dyn ::std::future::Future<Output = #output> + ::std::marker::Send + #all
        >>
    };
    signature.generics.params.insert(0, parse_quote!(#all));
}

/// Names the lifetimes that are not, but those behind a reference: they live longer than it by themselves.
struct Borrowed<'a>(&'a Lifetime);

impl VisitMut for Borrowed<'_> {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime.get_or_insert_with(|| self.0.clone());
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = self.0.clone();
        }
    }
}
