CREATE ROLE shop LOGIN;
CREATE DATABASE shop OWNER shop;
\connect shop shop
CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL);
INSERT INTO products VALUES (1, 'alarm clock'), (2, 'night light'), (3, 'pillow');
