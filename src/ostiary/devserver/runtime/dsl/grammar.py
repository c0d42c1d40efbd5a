"""The grammar, for lark: first the words of a source, then the sentences they make.

Words are read without regard to where they stand. `layout` then decides what each is (the name
of a block, a key, the end of a statement), which keeps the grammar of sentences free of
conflicts although no word of the language is reserved. Neighbour: `parser` runs both.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SENTENCES", "WORDS"]

# Whatever no word begins with is a word too, and so are a quote and a comment that never end:
# the lexer does not fail, and reads on from nowhere twice.
WORDS: Final = r'''
words: (NL | STRING | OPEN_STRING | OPEN_COMMENT | QUANTITY | NUMBER | NAME
     | ARROW | FATARROW | EQ | NE | LE | GE | LT | GT | AND | OR | BANG
     | PLUS_EQUAL | MINUS_EQUAL | STAR_EQUAL | SLASH_EQUAL | EQUAL
     | PLUS | MINUS | STAR | SLASH | PERCENT | PATH | COLON | DOT | COMMA | SEMICOLON
     | LPAR | RPAR | LSQB | RSQB | LBRACE | RBRACE | QUESTION | STRANGE)*

COMMENT.9: /\/\/[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\//
OPEN_COMMENT.8: /\/\*/
STRING.7: /"""[\s\S]*?"""|b?"(?:[^"\\]|\\[\s\S])*"/
OPEN_STRING.6: /b?"/
NUMBER.5: /[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w])/
QUANTITY.4: /[0-9]+(?:\.[0-9]+)?[^\W\d]\w*/
NAME.3: /[^\W\d]\w*|\$[^\W\d]\w*/

ARROW.2: "->"
FATARROW.2: "=>"
EQ.2: "=="
NE.2: "!="
LE.2: "<="
GE.2: ">="
AND.2: "&&"
OR.2: "||"
PLUS_EQUAL.2: "+="
MINUS_EQUAL.2: "-="
STAR_EQUAL.2: "*="
SLASH_EQUAL.2: "/="
PATH.2: "::"
LT: "<"
GT: ">"
BANG: "!"
EQUAL: "="
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
PERCENT: "%"
COLON: ":"
DOT: "."
COMMA: ","
SEMICOLON: ";"
LPAR: "("
RPAR: ")"
LSQB: "["
RSQB: "]"
LBRACE: "{"
RBRACE: "}"
QUESTION: "?"
NL: /\n/
BLANK: /[ \t\r\f\v\u00a0\ufeff]+/
STRANGE.-1: /./

%ignore COMMENT
%ignore BLANK
'''

# KIND opens a block, KEY stands before ':' or '=', WORD before bare values, PARAM before an
# arrow, PARAMS is the parenthesis of a block's parameters; LMAP and RMAP are the braces of a
# value, LANGLE and RANGLE the brackets of a type. Repetition is flat everywhere, so that what
# is long never becomes deep.
SENTENCES: Final = r"""
start: statement

?statement: definition | type_definition | pair | assignment | let | return_
          | if_ | for_ | while_ | match_ | try_ | with_ | phrase
          | BREAK -> break_
          | CONTINUE -> continue_
          | value -> evaluate

definition: KIND (NAME | STRING)* params? returns? block
params: PARAMS (param (COMMA param)* COMMA?)? RPAR
param: KEY COLON type_ (EQUAL expr)?
     | KEY COLON literal
     | KEY EQUAL expr
     | NAME
returns: ARROW type_
type_: NAME ((DOT | PATH) NAME)* (LANGLE type_ (COMMA type_)* RANGLE)? QUESTION?
type_definition: TYPE NAME EQUAL (type_ | map)
block: LBRACE (statement (END statement)*)? RBRACE

pair: KEY (COLON | EQUAL) value (EQUAL value)?
assignment: postfix (EQUAL | PLUS_EQUAL | MINUS_EQUAL | STAR_EQUAL | SLASH_EQUAL) value
let: LET NAME (COLON type_)? (EQUAL value)?
return_: RETURN value?
if_: IF expr block (ELSE IF expr block)* (ELSE block)?
for_: FOR NAME IN expr block
while_: WHILE expr block
match_: MATCH expr LBRACE (arm (END arm)*)? RBRACE
arm: expr (FATARROW | ARROW) (block | statement)
try_: TRY block catch+
catch: CATCH (LPAR NAME NAME? RPAR | NAME)? block
with_: WITH (attribute (COMMA attribute)*)? block
attribute: KEY (EQUAL | COLON) expr
phrase: WORD word+

value: expr tail*
tail: (IF | WITH | FOR) expr
    | word
?word: NAME trailer* -> named
     | literal

?expr: conjunction (OR conjunction)*
?conjunction: comparison (AND comparison)*
?comparison: sum ((EQ | NE | LE | GE | LT | GT | IN) sum)*
?sum: product ((PLUS | MINUS) product)*
?product: unary ((STAR | SLASH | PERCENT) unary)*
?unary: (BANG | MINUS)* postfix
?postfix: atom trailer*
?trailer: (DOT | PATH) NAME -> member
       | LPAR (argument (COMMA argument)* COMMA?)? RPAR -> call
       | LSQB argument (COMMA argument)* RSQB -> index
       | LANGLE type_ (COMMA type_)* RANGLE -> generic
       | QUESTION -> propagate
       | map
?atom: NAME -> name
     | literal
     | LPAR expr RPAR -> group
     | LSQB (argument (COMMA argument)* COMMA?)? RSQB -> items
     | map
argument: KEY (COLON | EQUAL) expr
        | PARAM (FATARROW | ARROW) expr
        | expr
map: LMAP (entry (END entry)*)? RMAP
entry: KEY (COLON | EQUAL) value
     | value
literal: STRING | NUMBER | QUANTITY | TRUE | FALSE | NULL

%declare AND ARROW BANG BREAK CATCH COLON COMMA CONTINUE DOT ELSE END EQ EQUAL FALSE FATARROW FOR
%declare GE GT IF IN KEY KIND LANGLE LBRACE LE LET LMAP LPAR LSQB LT MATCH MINUS MINUS_EQUAL NAME
%declare NE NULL NUMBER OR PARAM PARAMS PATH PERCENT PLUS PLUS_EQUAL QUANTITY QUESTION RANGLE
%declare RBRACE RETURN RMAP RPAR RSQB SEMICOLON SLASH SLASH_EQUAL STAR STAR_EQUAL STRING TRUE TRY
%declare TYPE WHILE WITH WORD
"""
