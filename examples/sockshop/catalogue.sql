-- The catalogue of docker-compose.local.yaml; table and account are named as in Sock Shop.
CREATE TABLE sock (
  sock_id     VARCHAR(40) PRIMARY KEY,
  name        VARCHAR(40) NOT NULL,
  description VARCHAR(200) NOT NULL,
  price       DECIMAL(8, 2) NOT NULL CHECK (price >= 0),
  count       INT NOT NULL CHECK (count >= 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

INSERT INTO sock (sock_id, name, description, price, count) VALUES
  ('argyle',   'Argyle',      'Diamonds in green and navy.',               12.50, 10000),
  ('bamboo',   'Bamboo',      'Soft, for warm days.',                       9.90, 10000),
  ('compress', 'Compression', 'For long flights and longer deployments.',  24.00, 10000),
  ('dotted',   'Dotted',      'Red dots on white.',                         7.90, 10000),
  ('holey',    'Holey',       'One left, with a hole in it.',               1.00,     1),
  ('knee',     'Knee high',   'Ribbed cotton up to the knee.',             11.00, 10000),
  ('merino',   'Merino',      'Wool that does not itch.',                  19.50, 10000),
  ('odd',      'Odd pair',    'Two that do not match.',                     5.00, 10000),
  ('runner',   'Runner',      'Padded at heel and toe.',                   14.20, 10000),
  ('slipper',  'Slipper',     'Thick, with rubber dots below.',            16.80, 10000);

CREATE USER 'catalogue_user'@'%' IDENTIFIED BY 'default_password';
GRANT SELECT, UPDATE ON socksdb.sock TO 'catalogue_user'@'%';
