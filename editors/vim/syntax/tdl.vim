" Vim syntax of the tdl tensor language.
if exists('b:current_syntax')
  finish
endif

syntax keyword tdlConditional if else
syntax keyword tdlRepeat for while in break continue
syntax keyword tdlStatement return assert where import
syntax keyword tdlStorage let mut const some io
syntax keyword tdlStructure fn struct impl interface type
syntax keyword tdlOperatorWord and or not as
syntax keyword tdlBoolean true false
syntax keyword tdlConstant inf nan
syntax keyword tdlSelf self Self
syntax keyword tdlType f16 bf16 f32 f64 i8 i16 i32 i64 u8 u32 u64 bool str Rng
syntax keyword tdlDerivative grad value_and_grad vjp jvp jacobian hessian hvp vmap stop_grad

syntax match tdlBlock /^\s*\zs\(test\|bench\|prop\)\ze\s\+"/
syntax match tdlExpect /\<expect\s\+error\s\+E\d\{4}\>/
syntax match tdlAnnotation /@\(remat\|vjp\)\>/
syntax match tdlTypeName /\<[A-Z]\w*\>/
syntax match tdlFunction /\(\<fn\s\+\)\@<=\h\w*/
syntax match tdlNumber /\<\d[0-9_]*\>/
syntax match tdlNumber /\<0x[0-9a-fA-F_]\+\>/
syntax match tdlFloat /\<\d[0-9_]*\(\.\d[0-9_]*\([eE][+-]\?\d\+\)\?\|[eE][+-]\?\d\+\)\>/
syntax match tdlOperator /|>\|->\|==\|!=\|<=\|>=\|\.\.\|[-+*\/%^@<>=]/

syntax match tdlEscape /\\.\|{{\|}}/ contained
syntax region tdlInterpolation matchgroup=tdlDelimiter start=/{/ end=/}/ contained contains=ALLBUT,tdlEscape,tdlTodo
syntax region tdlString start=/"/ skip=/\\"/ end=/"/ oneline contains=tdlEscape,tdlInterpolation
syntax keyword tdlTodo TODO FIXME NOTE contained
syntax match tdlComment /#.*$/ contains=tdlTodo
syntax match tdlDocComment /##.*$/ contains=tdlTodo

highlight default link tdlConditional Conditional
highlight default link tdlRepeat Repeat
highlight default link tdlStatement Statement
highlight default link tdlStorage StorageClass
highlight default link tdlStructure Structure
highlight default link tdlOperatorWord Operator
highlight default link tdlOperator Operator
highlight default link tdlBoolean Boolean
highlight default link tdlConstant Constant
highlight default link tdlSelf Special
highlight default link tdlType Type
highlight default link tdlTypeName Type
highlight default link tdlDerivative Special
highlight default link tdlBlock Keyword
highlight default link tdlExpect Keyword
highlight default link tdlAnnotation PreProc
highlight default link tdlFunction Function
highlight default link tdlNumber Number
highlight default link tdlFloat Float
highlight default link tdlString String
highlight default link tdlEscape SpecialChar
highlight default link tdlDelimiter Delimiter
highlight default link tdlComment Comment
highlight default link tdlDocComment SpecialComment
highlight default link tdlTodo Todo

let b:current_syntax = 'tdl'
